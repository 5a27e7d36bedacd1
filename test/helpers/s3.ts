/** An S3-compatible server on a free port, with one bucket; it ends with its test. */
import S3rver from '@20minutes/s3rver'
import type { Test } from 'tap'

const BUCKET = 'mumi-files'

/** @param dir where it keeps its objects */
export async function s3Server(t: Test, dir: string) {
  const server = new S3rver({
    address: '127.0.0.1',
    port: 0,
    silent: true,
    directory: dir,
    configureBuckets: [{ name: BUCKET, configs: [] }],
  })
  // It leaves the slash out of what it signs of `/bucket/?…`, as Amazon's service does not; so for lists its check is left
  // out. It checks the signatures of all requests for objects.
  server.middleware.unshift((context, next) => {
    if (context.path === `/${BUCKET}/`) delete context.headers.authorization
    return next()
  })
  const { port } = await server.run()
  t.teardown(() => server.close())
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    bucket: BUCKET,
    // The server's own.
    accessKey: 'S3RVER',
    secretKey: 'S3RVER',
    pathStyle: true,
  }
}
