// The worker and the calls that wait for its answers.

import { WordbrushError } from './errors.js';
import { platform } from './platform.js';

export class EngineWorker {
  #worker;
  #calls = new Map();
  #nextId = 1;
  #ended = null;

  constructor(script) {
    this.#worker = platform.startWorker(script);
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onmessageerror = () => this.stop(crash('an answer could not be read'));
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.stop(crash(event.message || 'worker.js could not be loaded'));
    };
  }

  get idle() { return this.#calls.size === 0; }
  get ended() { return this.#ended !== null; }

  call(type, payload, { signal, onEvent, transfer = [] } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      if (signal?.aborted) throw signal.reason;
      const id = this.#nextId++;
      try {
        this.#worker.postMessage({ id, type, ...payload }, transfer);
      } catch (error) {
        throw new WordbrushError('BAD_OPTION', `A value cannot be sent to the engine: ${error.message}`);
      }
      const abort = () => {
        this.#worker.postMessage({ type: 'abort', id });
        this.#settle(id)?.reject(signal.reason);
      };
      signal?.addEventListener('abort', abort);
      this.#calls.set(id, { resolve, reject, onEvent, forget: () => signal?.removeEventListener('abort', abort) });
    });
  }

  #receive({ id, event, value, error, fatal }) {
    if (fatal) this.stop(crash(fatal));
    else if (event) this.#calls.get(id)?.onEvent?.(event, () => this.#worker.postMessage({ type: 'seen', id }));
    else if (error) this.#settle(id)?.reject(new WordbrushError(error.code, error.message, error.hint));
    else this.#settle(id)?.resolve(value);
  }

  #settle(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.forget();
    return call;
  }

  // Ends the worker now; every call, waiting or to come, is answered with the error.
  stop(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#worker.terminate();
    for (const id of [...this.#calls.keys()]) this.#settle(id).reject(error);
  }

  // Lets the engine give its GPU memory back, but does not wait for one that hangs.
  async dispose() {
    if (this.#ended) return;
    const error = new WordbrushError('DISPOSED', 'The model was disposed.');
    for (const id of [...this.#calls.keys()]) {
      this.#worker.postMessage({ type: 'abort', id });
      this.#settle(id).reject(error);
    }
    const goodbye = this.call('dispose', {}).catch(() => {});
    this.#ended = error;
    await Promise.race([goodbye, new Promise((resolve) => { platform.later(resolve, 3000); })]);
    this.#worker.terminate();
  }
}

function crash(message) {
  const reason = message.replace(/^Uncaught (Error: )?/, '').replace(/\.?$/, '.');
  return new WordbrushError('INTERNAL', `The engine stopped: ${reason}`);
}

// A call that may take long has a worker of its own, which ends with it.
export async function ownWorker(type, payload, control) {
  control.signal?.throwIfAborted();
  const worker = new EngineWorker();
  try {
    return await worker.call(type, payload, control);
  } finally {
    worker.stop(new WordbrushError('DISPOSED', 'The worker has ended.'));
  }
}
