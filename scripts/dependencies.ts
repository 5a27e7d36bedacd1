/** The sentence in docs/security.md about the program's packages, with the numbers of the lockfile. */
import { readFileSync } from 'node:fs'

const read = (file: string) => JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8'))

export const direct = (): string[] => Object.keys(read('package.json').dependencies).sort()

/** @returns one sentence */
export function counted(): string {
  const { packages }: { packages: Record<string, { dev?: true; devOptional?: true; optional?: true }> } =
    read('package-lock.json')
  const all = Object.entries(packages).flatMap(([path, one]) => (path === '' ? [] : [one]))
  const shipped = all.filter(({ dev, devOptional }) => !dev && !devOptional)
  const optional = shipped.filter(one => one.optional).length
  return (
    `The program depends on ${direct().length} packages, with what they need ${shipped.length}, of which ${optional} are ` +
    `optional: binaries, one of each kind a platform. ${all.length} with those for development.`
  )
}
