// main.mjs PORT VERSION CASE runs one case against the broker on that port; --list names all cases.

import { Bench, cases } from './bench.mjs'
import './cases.mjs'

const [port, version, name] = process.argv.slice(2)
if (port === '--list') {
  console.log([...cases.keys()].sort().join('\n'))
  process.exit(0)
}
try {
  await cases.get(`${version}::${name}`)(new Bench(Number(port), version))
  process.exit(0)
} catch (error) {
  console.error(error.stack)
  process.exit(1)
}
