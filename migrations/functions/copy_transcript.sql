-- Gives a session without entries (p_to) the main transcript of another one (p_from) of its project. The stored texts name
-- no session, so that the copy holds the same rows under its own id. As a fork it has no subagents of its own. The caller
-- holds the shared lock of the project's texts, see drop_sessions. What the base holds is read once: a whole copy or none.
CREATE FUNCTION session_chain.copy_transcript(p_from bigint, p_to bigint) RETURNS void
LANGUAGE sql AS $$
  WITH batch AS (
    SELECT b.*, row_number() OVER (ORDER BY b.ordinal) AS n
    FROM session_chain.transcript_batches b WHERE b.session = p_from AND b.subpath = ''
  ), copy AS (
    UPDATE session_chain.sessions c SET batches = (SELECT count(*) FROM batch), entries = s.entries,
      messages = s.messages, context_tokens = s.context_tokens, appended_at = clock_timestamp()
    FROM session_chain.sessions s WHERE s.id = p_from AND c.id = p_to RETURNING c.id
  )
  INSERT INTO session_chain.transcript_batches (session, ordinal, append_id, patch_id, subpath, entry_ids)
  SELECT copy.id, b.n, gen_random_uuid(), b.patch_id, '', b.entry_ids FROM batch b CROSS JOIN copy
$$;
