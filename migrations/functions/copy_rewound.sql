-- Gives the session of a rewind that is under way the main transcript of the one that it forks. The stored texts name
-- no session, so that the copy holds the same rows under its own id. As a fork it has no subagents of its own.
CREATE FUNCTION session_chain.copy_rewound(p_attempt bigint) RETURNS void
LANGUAGE sql AS $$
  -- No text goes that the copy refers to, see drop_sessions.
  SELECT pg_advisory_xact_lock_shared(hashtextextended('session_chain texts ' || a.project_id, 0))
    FROM session_chain.attempts a WHERE a.id = p_attempt;
  WITH rewind AS (
    SELECT a.project_id, a.session_id, a.base_session_id FROM session_chain.attempts a
    WHERE a.id = p_attempt AND a.chain IS NULL AND a.build_id LIKE 'rewind:%' AND a.state = 'running'
  ), source AS (
    SELECT s.* FROM session_chain.sessions s JOIN rewind r ON r.project_id = s.project_id AND r.base_session_id = s.session_id
  ), batch AS (
    SELECT b.*, row_number() OVER (ORDER BY b.ordinal) AS n
    FROM session_chain.transcript_batches b JOIN source s ON s.id = b.session WHERE b.subpath = ''
  ), copy AS (
    UPDATE session_chain.sessions c SET batches = (SELECT count(*) FROM batch), entries = s.entries,
      messages = s.messages, context_tokens = s.context_tokens, appended_at = clock_timestamp()
    FROM source s, rewind r WHERE c.project_id = r.project_id AND c.session_id = r.session_id RETURNING c.id
  )
  INSERT INTO session_chain.transcript_batches (session, ordinal, append_id, patch_id, subpath, entry_ids)
  SELECT copy.id, b.n, gen_random_uuid(), b.patch_id, '', b.entry_ids FROM batch b CROSS JOIN copy
$$;
