-- Says that a worker is there, what it is and how much it runs; forgets workers that were not seen for a day.
CREATE FUNCTION session_chain.renew_worker(p_id uuid, p_worker jsonb, p_running_agents integer, p_running_chats integer,
  p_parked integer)
RETURNS void LANGUAGE sql AS $$
  DELETE FROM session_chain.workers WHERE seen_at < clock_timestamp() - interval '1 day';
  INSERT INTO session_chain.workers (id, identity, host, version, release, deployment, claude_code, sdk, sandbox, namespace, task_queue, limits,
    definition, definition_digest, definition_file, running_agents, running_chats, parked)
  SELECT p_id, w.identity, w.host, w.version, w.release, w.deployment, w."claudeCode", w.sdk, w.sandbox, w.namespace, w."taskQueue", w.limits,
    w.definition, w."definitionDigest", w."definitionFile", p_running_agents, p_running_chats, p_parked
  FROM jsonb_to_record(p_worker) AS w (identity text, host text, version text, release text, deployment text, "claudeCode" text, sdk text, sandbox text,
    namespace text, "taskQueue" text, limits jsonb, definition jsonb, "definitionDigest" text, "definitionFile" text)
  ON CONFLICT (id) DO UPDATE SET running_agents = EXCLUDED.running_agents, running_chats = EXCLUDED.running_chats,
    parked = EXCLUDED.parked, seen_at = clock_timestamp()
$$;
