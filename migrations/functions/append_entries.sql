-- Stores one append and returns its ordinal. p_digests and p_texts are its entries in order, then the patch if there is
-- one (p_patched); the texts are joined by U+0003, because an array literal of much JSON costs 20 times the time. Where the
-- append repeats entries of another session (p_base, else null), these are not among them: see referred_texts.
-- p_context_tokens is the size of the context after it, null where the append does not state it. p_after is how many
-- appends its writer knows that the session holds; null where it knows nothing of the session, which this append may
-- then create. The first statement locks the session's row, so that appends of one session follow each other and none
-- passes a seal: SC001 says that the session is sealed, SC002 that it holds fewer than p_after appends: the database
-- went back. A unique violation of transcript_batches_append_key says that this append was stored before.
CREATE FUNCTION session_chain.append_entries(
  p_project text, p_session text, p_subpath text, p_append_id uuid, p_digests bytea[], p_texts text,
  p_patched boolean, p_base text, p_runs integer[], p_proof bytea, p_messages integer, p_bytes bigint, p_context_tokens bigint, p_after integer)
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_own integer := cardinality(p_digests) - p_patched::integer;
  v_entries integer := CASE WHEN p_base IS NULL THEN v_own
    ELSE (SELECT sum(r.length) FROM unnest(p_runs) WITH ORDINALITY AS r (length, n) WHERE r.n % 2 = 0) END;
  v_main integer := (p_subpath = '')::integer;
  v_session bigint;
  v_ordinal integer;
  v_ids bigint[];
  v_patch bigint;
BEGIN
  -- No text goes that this append finds, see drop_sessions.
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('session_chain texts ' || p_project, 0));
  INSERT INTO session_chain.sessions AS s
    (project_id, session_id, batches, entries, messages, appended_bytes, context_tokens, appended_at)
  SELECT p_project, p_session, 1, v_main * v_entries, v_main * p_messages, p_bytes, coalesce(p_context_tokens, 0),
    clock_timestamp()
  WHERE p_after IS NULL
    OR EXISTS (SELECT FROM session_chain.sessions k WHERE k.project_id = p_project AND k.session_id = p_session)
  ON CONFLICT (project_id, session_id) DO UPDATE SET
    batches = s.batches + 1,
    entries = s.entries + excluded.entries,
    messages = s.messages + excluded.messages,
    appended_bytes = s.appended_bytes + excluded.appended_bytes,
    context_tokens = coalesce(p_context_tokens, s.context_tokens),
    appended_at = clock_timestamp()
    WHERE s.sealed_at IS NULL AND s.batches >= coalesce(p_after, 0)
  RETURNING s.id, s.batches INTO v_session, v_ordinal;
  IF NOT FOUND THEN
    PERFORM 1 FROM session_chain.sessions s
      WHERE s.project_id = p_project AND s.session_id = p_session AND s.sealed_at IS NOT NULL;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'session % of project % holds fewer than % appends', p_session, p_project, p_after USING ERRCODE = 'SC002';
    END IF;
    RAISE EXCEPTION 'session % of project % is sealed', p_session, p_project USING ERRCODE = 'SC001';
  END IF;

  -- In the order of their digests: two sessions that bring the same texts wait for each other and cannot deadlock.
  INSERT INTO session_chain.transcript_texts (project_id, digest, content)
  SELECT p_project, u.digest, u.content
  FROM unnest(p_digests, string_to_array(p_texts, E'\x03')) AS u (digest, content)
  WHERE NOT EXISTS (
    SELECT FROM session_chain.transcript_texts t WHERE t.project_id = p_project AND t.digest = u.digest)
  ORDER BY u.digest
  ON CONFLICT (project_id, digest) DO NOTHING;

  -- A separate statement: its snapshot shows what another session has just stored in our place.
  SELECT array_agg(t.id ORDER BY u.n) INTO v_ids
  FROM unnest(p_digests) WITH ORDINALITY AS u (digest, n)
  LEFT JOIN session_chain.transcript_texts t ON t.project_id = p_project AND t.digest = u.digest;

  IF p_patched THEN
    v_patch := v_ids[v_own + 1];
  END IF;
  v_ids := v_ids[1:v_own];
  IF p_base IS NOT NULL THEN
    v_ids := session_chain.referred_texts(p_project, p_base, p_runs, v_ids, p_proof);
  END IF;

  INSERT INTO session_chain.transcript_batches (session, ordinal, append_id, patch_id, subpath, entry_ids)
  VALUES (v_session, v_ordinal, p_append_id, v_patch, p_subpath, v_ids);
  RETURN v_ordinal;
END
$$;
