// A service without a library: `node service.mjs PORT`.
import { createServer } from "node:http";

const server = createServer((request, response) => {
  const body = JSON.stringify({ hello: "from Node", path: request.url }) + "\n";
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
});
server.keepAliveTimeout = 60_000; // longer than the gateway keeps an idle connection
server.listen(Number(process.argv[2]), "127.0.0.1");
