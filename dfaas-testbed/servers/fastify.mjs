// The function as fastify serves it: `node fastify.mjs PORT`.
import fastify from 'fastify';
import { setTimeout as sleep } from 'node:timers/promises';
import { Readable } from 'node:stream';

const app = fastify({ bodyLimit: 1 << 20 });
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
app.all('/*', async (request, reply) => {
  reply.type('text/plain');
  if (request.query.do === 'parts') {
    return reply.send(Readable.from((async function* () {
      for (const part of [1, 2, 3]) {
        yield `part${part}\n`;
        await sleep(300);
      }
    })()));
  }
  if (request.query.do === 'late') await sleep(500);
  return `ok ${request.body?.length ?? 0}\n`;
});
await app.listen({ port: Number(process.argv[2]), host: '0.0.0.0' });
