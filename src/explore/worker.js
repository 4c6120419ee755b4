// The engine in a worker: answers requests one by one, so that the page never blocks.

let loaded = null;

/** The answer to a request of the page. */
function answer(request) {
  switch (request.kind) {
    case "load":
      loaded = makeModel(request.network, request.weights);
      return {};
    case "decode":
      return { picture: loaded.decode(request.code, request.label) };
    case "encode":
      return loaded.encode(request.picture, request.label);
    default:
      throw new Error(`no such request: ${request.kind}`);
  }
}

if (typeof WorkerGlobalScope !== "undefined" && self instanceof WorkerGlobalScope) {
  self.onmessage = ({ data }) => {
    const start = performance.now();
    let result;
    try {
      result = answer(data);
    } catch (error) {
      result = { error: String(error) };
    }
    self.postMessage({ id: data.id, milliseconds: performance.now() - start, ...result });
  };
}
