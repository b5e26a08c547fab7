-- Stores the first append of a session that goes on from another one (p_base) and repeats nothing of it: a copy of the
-- main transcript of the base and then these entries, see append_entries. Returns the append's ordinal, also when it was
-- stored before. SC005 says that no step can go on from the base, SC006 that the session holds other appends already.
CREATE FUNCTION session_chain.append_to_copy(
  p_project text, p_session text, p_base text, p_subpath text, p_append_id uuid, p_digests bytea[], p_texts text,
  p_patched boolean, p_messages integer, p_bytes bigint, p_context_tokens bigint)
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_base bigint;
  v_session bigint;
  v_batches integer;
  v_ordinal integer;
  v_fitness text;
BEGIN
  -- No text goes that the copy refers to, see drop_sessions.
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('session_chain texts ' || p_project, 0));
  -- Kept from delete_session until the copy is there.
  SELECT s.id INTO v_base FROM session_chain.sessions s
    WHERE s.project_id = p_project AND s.session_id = p_base FOR KEY SHARE;
  INSERT INTO session_chain.sessions AS s (project_id, session_id) VALUES (p_project, p_session)
    ON CONFLICT (project_id, session_id) DO UPDATE SET batches = s.batches
    RETURNING s.id, s.batches INTO v_session, v_batches;
  IF v_batches > 0 THEN
    SELECT b.ordinal INTO v_ordinal FROM session_chain.transcript_batches b
      WHERE b.session = v_session AND b.append_id = p_append_id;
    IF v_ordinal IS NULL THEN
      RAISE EXCEPTION 'session % of project % holds % appends already', p_session, p_project, v_batches USING ERRCODE = 'SC006';
    END IF;
    RETURN v_ordinal;
  END IF;
  v_fitness := session_chain.session_fitness(p_project, p_base);
  IF v_fitness IS DISTINCT FROM 'whole' THEN
    RAISE EXCEPTION 'session % of project % cannot be copied: %', p_base, p_project, v_fitness USING ERRCODE = 'SC005';
  END IF;
  PERFORM session_chain.copy_transcript(v_base, v_session);
  RETURN session_chain.append_entries(p_project, p_session, p_subpath, p_append_id, p_digests, p_texts, p_patched,
    NULL, NULL, NULL, p_messages, p_bytes, p_context_tokens, NULL);
END
$$;
