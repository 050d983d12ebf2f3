#!/usr/bin/env node
// An application that sells answers and pays them from a credit pool. Node 18 or later, pg 8; DATABASE_URL says where.
'use strict'
const pg = require('pg')
const { setTimeout: sleep } = require('node:timers/promises')

class NotDelivered extends Error {}
const POOL = { customer_id: 'customer-demo-01', resource_id: 'workspace-example-com' }
const CREDITS = { credit_type_id: 'ai-tokens' }, FEATURE = { feature_id: 'feature-ai-tokens' }
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {})) // a connection that dies fails its query: enough

// The one row of a function of credit_pools. pg gives numeric as a string, and so credits stay exact: never Number().
async function call(client, name, args) {
  const names = Object.keys(args).map((key, i) => `${key} => $${i + 1}`).join(', ')
  return (await client.query(`SELECT * FROM credit_pools.${name}(${names})`, Object.values(args))).rows[0]
}

// Does work(client) in one transaction. After a lost connection nobody knows whether it was committed, so it is done again: what
// it writes must have keys. The wallet answers a key that it knows with the first result, and charges nothing.
async function transaction(work) {
  for (let tried = 1; ; tried++) {
    let client, broken
    try {
      client = await pool.connect()
      await client.query('BEGIN')
      const result = await work(client)
      await client.query('COMMIT')
      return result
    } catch (error) {
      broken = await client?.query('ROLLBACK').then(() => false, () => true) // and that is the refund
      // No SQLSTATE: the connection is gone. 08, 57P: the server is. 40: deadlock, serialization. The rest is no use repeating.
      const again = error instanceof pg.DatabaseError ? /^(08|57P|40)/.test(error.code) : !(error instanceof NotDelivered)
      if (!again || tried === 4) throw error
      console.log(`try ${tried} failed, again with the same keys`)
    } finally {
      client?.release(broken)
    }
    await sleep(100 * 2 ** tried)
  }
}

// The application's own row and its price, both or neither.
async function answer(id, tokens, deliver = () => {}) {
  try {
    const usage = await transaction(async (client) => {
      await client.query('INSERT INTO answer VALUES ($1, $2) ON CONFLICT DO NOTHING', [id, tokens])
      const charged = await call(client, 'report_usage', { ...POOL, ...FEATURE, value: tokens, idempotency_key: id })
      deliver()
      return charged
    })
    const again = usage.is_duplicate ? ', charged by an earlier try' : ''
    console.log(`${id}: ${usage.credits_consumed} credits, ${usage.balance} left${again}`)
  } catch (error) {
    if (error instanceof NotDelivered) return console.log(`${id}: ${error.message}, nothing was charged`)
    if (error.code === 'PC004') return console.log(`${id}: charged with other figures`) // the caller's fault
    if (error.code !== 'PC001') throw error
    const figures = JSON.parse(error.detail.replace(/:(-?[\d.]+)/g, ':"$1"')) // as strings: JSON.parse makes floats of numbers
    console.log(`${id}: costs ${figures.required}, ${figures.balance} left: buy ${figures.shortfall}?`)
    return figures.shortfall
  }
}

async function main() {
  const once = (name, args) => transaction((client) => call(client, name, { ...POOL, ...args }))
  await once('provision_subscription', { plan_id: 'plan-basic', idempotency_key: 'sign-up' })
  await once('grant_credits', { ...CREDITS, amount: 100, idempotency_key: 'order-1' })
  await once('report_usage', { ...FEATURE, value: 150, idempotency_key: 'chat-1' })
  await answer('answer-1', 200)
  await answer('answer-1', 201)
  await answer('answer-2', 300, () => { throw new NotDelivered('the model did not answer') })
  const missing = await answer('answer-3', 1000)
  if (missing) {
    await once('grant_credits', { ...CREDITS, amount: missing, idempotency_key: 'top-up-answer-3' })
    await answer('answer-3', 1000)
  }
}

main().catch((error) => { console.error(error); process.exitCode = 1 }).finally(() => pool.end())
