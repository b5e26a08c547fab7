-- Brings one session back as a file of the archive holds it: p_session has the columns of its row, p_appends its appends
-- as [{ordinal, append_id, subpath, patch, entries}] with digests of texts that restore_texts has stored. Returns
--   restored    its transcript was not here, and is
--   present     it is here, and is the same
--   differs     another transcript of it is here, or is being written
--   elsewhere   it belongs to another project
CREATE FUNCTION session_chain.restore_session(p_project text, p_part uuid, p_session jsonb, p_appends jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_archived session_chain.sessions := jsonb_populate_record(NULL::session_chain.sessions, p_session);
  v_here session_chain.sessions;
BEGIN
  SELECT * INTO v_here FROM session_chain.sessions s
    WHERE s.project_id = p_project AND s.session_id = v_archived.session_id FOR UPDATE;
  IF v_here.id IS NOT NULL AND v_here.dropped_at IS NULL THEN
    IF EXISTS (SELECT FROM session_chain.transcript_batches b WHERE b.session = v_here.id)
       OR (v_here.sealed_at IS NULL AND v_here.given_up_at IS NULL) THEN
      RETURN CASE WHEN (
          SELECT jsonb_agg(jsonb_build_object('ordinal', a.ordinal, 'append_id', a.append_id, 'subpath', a.subpath,
            'patch', a.patch, 'entries', a.entries) ORDER BY a.ordinal)
          FROM jsonb_to_recordset(p_appends) AS a (ordinal integer, append_id uuid, subpath text, patch text, entries jsonb)
        ) IS NOT DISTINCT FROM (
          SELECT jsonb_agg(jsonb_build_object('ordinal', b.ordinal, 'append_id', b.append_id, 'subpath', b.subpath,
            'patch', (SELECT encode(p.digest, 'hex') FROM session_chain.transcript_texts p WHERE p.id = b.patch_id),
            'entries', (SELECT jsonb_agg(encode(t.digest, 'hex') ORDER BY u.n)
              FROM unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
              LEFT JOIN session_chain.transcript_texts t ON t.id = u.id)) ORDER BY b.ordinal)
          FROM session_chain.transcript_batches b WHERE b.session = v_here.id)
        THEN 'present' ELSE 'differs' END;
    ELSIF jsonb_array_length(p_appends) = 0 THEN
      RETURN 'present';
    END IF;
  END IF;

  IF session_chain.is_of_another_project(p_project, v_archived.session_id) THEN
    RETURN 'elsewhere';
  END IF;
  IF v_here.id IS NULL THEN
    INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id, created_at, appended_at, sealed_at,
      quarantined_at, quarantine_reason)
    VALUES (p_project, v_archived.session_id, v_archived.parent_session_id, v_archived.created_at, v_archived.appended_at,
      v_archived.sealed_at, v_archived.quarantined_at, v_archived.quarantine_reason)
    RETURNING * INTO v_here;
  END IF;
  UPDATE session_chain.sessions s SET batches = v_archived.batches, entries = v_archived.entries,
      messages = v_archived.messages, appended_bytes = v_archived.appended_bytes,
      context_tokens = v_archived.context_tokens, sealed_at = coalesce(s.sealed_at, v_archived.sealed_at, clock_timestamp()),
      parent_session_id = coalesce(s.parent_session_id, v_archived.parent_session_id),
      appended_at = coalesce(s.appended_at, v_archived.appended_at),
      archive_part = coalesce(s.archive_part, p_part), dropped_at = NULL, restored_at = clock_timestamp()
    WHERE s.id = v_here.id;
  INSERT INTO session_chain.transcript_batches (session, ordinal, append_id, patch_id, subpath, entry_ids)
  SELECT v_here.id, a.ordinal, a.append_id,
    (SELECT t.id FROM session_chain.transcript_texts t WHERE t.project_id = p_project AND t.digest = decode(a.patch, 'hex')),
    a.subpath,
    (SELECT array_agg(t.id ORDER BY u.n) FROM jsonb_array_elements_text(a.entries) WITH ORDINALITY AS u (digest, n)
     LEFT JOIN session_chain.transcript_texts t ON t.project_id = p_project AND t.digest = decode(u.digest, 'hex'))
  FROM jsonb_to_recordset(p_appends) AS a (ordinal integer, append_id uuid, subpath text, patch text, entries jsonb)
  ORDER BY a.ordinal;
  RETURN 'restored';
END
$$;
