#!/bin/sh
# What a chain is measured against: the same four calls of the same binary, and nothing else. No journal, no store, no
# containment; the rolling id lives in a shell variable. The environment gives the model, the home and the config folder.
# Arguments: the binary, a folder with a file per prompt, the house rules, the MCP configuration. Prints the session ids.
set -eu
claude=$1 prompts=$2 rules=$3 mcp=$4
tools=Bash,Edit,Glob,Grep,NotebookEdit,Read,Write
previous=

for step in build metadata docs compact; do
  session=$(cat /proc/sys/kernel/random/uuid)
  case $step in
    build) allowed=$tools ;;
    metadata) allowed=Glob,Grep,Read,mcp__chain__submit_metadata ;;
    docs) allowed=Edit,Glob,Grep,Read,Write ;;
    compact) allowed= ;;
  esac
  ANTHROPIC_CUSTOM_HEADERS="x-session-chain-step: $step
x-session-chain-mode: initial
x-session-chain-instruction: none"
  export ANTHROPIC_CUSTOM_HEADERS
  "$claude" -p "$(cat "$prompts/$step")" --output-format json \
    --session-id "$session" ${previous:+--resume "$previous" --fork-session} \
    --setting-sources '' --tools "$tools" --strict-mcp-config --mcp-config "$mcp" \
    --append-system-prompt "$rules" --exclude-dynamic-system-prompt-sections \
    --permission-mode dontAsk ${allowed:+--allowed-tools "$allowed"} </dev/null >"$prompts/$step.json"
  echo "$session"
  previous=$session
done
