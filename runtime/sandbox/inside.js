// Runs in the sandbox, given to Node as text: takes code and inputs, hands its result back. See inside.py.
'use strict';
const fs = require('node:fs');
const vm = require('node:vm');
const CHANNEL = 0;

function retry(call) {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function read(size) {
  const whole = Buffer.alloc(size);
  for (let at = 0; at < size; ) {
    const got = retry(() => fs.readSync(CHANNEL, whole, at, size - at, null));
    if (got === 0) process.exit(1);
    at += got;
  }
  return whole;
}

const leave = process.exit.bind(process);
const write = fs.writeSync.bind(fs);

function speak(answer) {
  const text = Buffer.from(JSON.stringify(answer), 'utf8');
  const frame = Buffer.alloc(4 + text.length);
  frame.writeUInt32BE(text.length);
  text.copy(frame, 4);
  for (let at = 0; at < frame.length; ) at += retry(() => write(CHANNEL, frame, at));
  leave(0);
}

function explain(error) {
  const stack = String((error && error.stack) || error);
  const lines = stack.split('\n').filter((line) => !/^ {4}at /.test(line) || line.includes('code.js'));
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  speak({ error: 'raised', message: message.slice(-2000), traceback: lines.join('\n').slice(-8000) });
}

process.on('uncaughtException', explain);

write(CHANNEL, 'R');
const asked = JSON.parse(read(read(4).readUInt32BE()).toString('utf8'));
(async () => {
  const before = '(async (inputs, require) => { ';
  const run = vm.runInThisContext(`${before}${asked.code}\n})`, {
    filename: 'code.js',
    columnOffset: -before.length,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const result = await run(asked.inputs, require);
  let text;
  try {
    text = JSON.stringify({ result: result === undefined ? null : result });
  } catch (error) {
    speak({ error: 'result', message: String(error).slice(0, 2000), traceback: '' });
  }
  speak(JSON.parse(text));
})().catch(explain);
