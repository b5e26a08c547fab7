# The command line, the migrations and the worker in one image. Extend it with the tools that your projects' builds need:
# agents run their commands inside of it.

FROM node:22.22.2-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No dependency needs its install script.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY . .
# The agent SDK is for the host to install beside the package; here the image is the host.
RUN npm run build \
  && sdk=@anthropic-ai/claude-agent-sdk \
  && npm pkg set "dependencies.$sdk=$(node -p "require('./package.json').peerDependencies['$sdk']")" \
  && npm pkg delete "devDependencies.$sdk" "peerDependencies.$sdk" \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && chmod +x dist/cli/main.js

FROM node:22.22.2-bookworm-slim
# bubblewrap, socat and util-linux (setpriv, prlimit) are the sandbox of the agents; git and ripgrep are what they work with.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends bubblewrap ca-certificates git ripgrep socat util-linux \
  && rm -rf /var/lib/apt/lists/* \
  && ln -s /app/dist/cli/main.js /usr/local/bin/session-chain \
  && install --directory --owner=node --group=node /workspaces
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/migrations ./migrations
COPY --from=build /app/dist ./dist
COPY --from=build /app/cli/templates ./cli/templates
USER node
ENTRYPOINT ["session-chain"]
CMD ["--help"]
