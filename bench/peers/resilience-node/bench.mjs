// The same cases for the libraries of Node.js, in one thread. `node bench.mjs list` prints what there is, one JSON object a
// line; `node bench.mjs run CASE LIB MILLIS` proves that the case does its work, measures it, and prints {"ns": ..}.
// A call here is awaited, as it is in use; Node cannot count allocations.

import CircuitBreaker from 'opossum';
import {
  BrokenCircuitError, ConstantBackoff, CountBreaker, ExponentialBackoff, SamplingBreaker, TimeoutStrategy, bulkhead,
  circuitBreaker, handleAll, retry, timeout, wrap,
} from 'cockatiel';

const ok = async () => 7;
const fail = async () => { throw new Error('no'); };
const suspended = () => new Promise((resolve) => queueMicrotask(() => resolve(7)));

function expect(holds, what) {
  if (!holds) throw new Error(`it does not do its work: ${what}`);
}

async function rejects(call) {
  try { await call(); return false; } catch (error) { return error; }
}

// opossum: a breaker with a timeout and a capacity built in.
function opossum(timeoutMs) {
  let answer = ok;
  const options = {
    timeout: timeoutMs, errorThresholdPercentage: 50, volumeThreshold: 20, rollingCountTimeout: 10_000,
    resetTimeout: 60_000, capacity: 256,
  };
  const breaker = new CircuitBreaker(() => answer(), options);
  return { breaker, call: () => breaker.fire(), answers: (next) => { answer = next; } };
}

async function opens({ breaker, call, answers }) {
  answers(fail);
  for (let calls = 0; calls < 30; calls++) await rejects(call);
  expect(breaker.opened, 'thirty failures did not open it');
  answers(ok);
  expect((await rejects(call)).code === 'EOPENBREAKER', 'an open breaker let a call pass');
}

async function opossumClosed(timeoutMs, answer) {
  const proof = opossum(timeoutMs);
  await opens(proof);
  proof.breaker.shutdown();
  const measured = opossum(timeoutMs);
  measured.answers(answer);
  return { call: measured.call, end: () => measured.breaker.shutdown() };
}

async function opossumOpen() {
  const measured = opossum(false);
  await opens(measured);
  return { call: () => rejects(measured.call), end: () => measured.breaker.shutdown() };
}

// cockatiel
const sampling = () => new SamplingBreaker({ threshold: 0.5, duration: 10_000, minimumRps: 2 });
const counting = () => new CountBreaker({ threshold: 0.5, size: 100, minimumNumberOfCalls: 20 });
const breaking = (breaker) => circuitBreaker(handleAll, { halfOpenAfter: 60_000, breaker });

async function breaks(policy) {
  for (let calls = 0; calls < 100; calls++) await rejects(() => policy.execute(fail));
  expect((await rejects(() => policy.execute(ok))) instanceof BrokenCircuitError, 'an open breaker let a call pass');
}

async function cockatielClosed(breaker) {
  await breaks(breaking(breaker()));
  const policy = breaking(breaker());
  return { call: () => policy.execute(ok) };
}

async function cockatielOpen() {
  const policy = breaking(counting());
  await breaks(policy);
  return { call: () => rejects(() => policy.execute(ok)) };
}

async function cockatielRetry() {
  const twice = retry(handleAll, { maxAttempts: 2, backoff: new ConstantBackoff(1) });
  let calls = 0;
  await rejects(() => twice.execute(() => { calls++; return fail(); }));
  expect(calls === 3, 'a failure was not retried twice');
  const policy = retry(handleAll, { maxAttempts: 2, backoff: new ExponentialBackoff() });
  return { call: () => policy.execute(ok) };
}

async function cockatielBulkhead() {
  const one = bulkhead(1);
  const held = one.execute(suspended);
  expect(await rejects(() => one.execute(ok)), 'a second call passed a limit of one');
  await held;
  const policy = bulkhead(256);
  return { call: () => policy.execute(ok) };
}

async function cockatielPipeline(answer) {
  const policy = wrap(
    retry(handleAll, { maxAttempts: 2, backoff: new ExponentialBackoff() }), breaking(counting()),
    timeout(1_000, TimeoutStrategy.Aggressive), bulkhead(256),
  );
  return { call: () => policy.execute(answer) };
}

const without = 'breaker, timeout, capacity; it has no retry and no rate limit';
const unlimited = 'retry, breaker, timeout, bulkhead; it has no rate limit';
const subjects = [
  ['breaker_closed', 'opossum', 'Date', '', () => opossumClosed(false, ok)],
  ['breaker_open', 'opossum', 'Date', '', opossumOpen],
  ['pipeline', 'opossum', 'Date', without, () => opossumClosed(1_000, ok)],
  ['pipeline_pending', 'opossum', 'Date', without, () => opossumClosed(1_000, suspended)],
  ['breaker_closed', 'cockatiel', 'Date', '', () => cockatielClosed(sampling)],
  ['breaker_closed_count_window', 'cockatiel', 'none', '', () => cockatielClosed(counting)],
  ['breaker_open', 'cockatiel', 'Date', '', cockatielOpen],
  ['retry_ok', 'cockatiel', 'none', 'it has no budget', cockatielRetry],
  ['bulkhead', 'cockatiel', 'none', '', cockatielBulkhead],
  ['pipeline', 'cockatiel', 'Date', unlimited, () => cockatielPipeline(ok)],
  ['pipeline_pending', 'cockatiel', 'Date', unlimited, () => cockatielPipeline(suspended)],
].map(([name, lib, clock, note, prepare]) => ({ case: name, lib, clock, note, prepare }));

async function measure(call, millis) {
  const slice = async (calls) => {
    const start = process.hrtime.bigint();
    for (let made = 0; made < calls; made++) await call();
    return Number(process.hrtime.bigint() - start);
  };
  let calls = 16;
  // The compiler has seen enough by then.
  for (const end = Date.now() + 200; Date.now() < end;) await slice(calls);
  while (await slice(calls) < 200_000) calls *= 2;
  const taken = [];
  for (const end = Date.now() + millis; Date.now() < end;) taken.push(await slice(calls) / calls);
  taken.sort((one, other) => one - other);
  return taken[Math.floor(taken.length / 2)];
}

const [verb, name, lib, millis] = process.argv.slice(2);
if (verb === 'list') {
  for (const { prepare, ...subject } of subjects) console.log(JSON.stringify({ ...subject, one_thread: true }));
} else {
  const subject = subjects.find((it) => it.case === name && it.lib === lib);
  if (verb !== 'run' || !subject) throw new Error('list, or: run CASE LIB MILLIS');
  const { call, end } = await subject.prepare();
  console.log(JSON.stringify({ ns: await measure(call, Number(millis)) }));
  end?.();
  process.exit(0);
}
