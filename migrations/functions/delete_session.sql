-- Deletes a session's transcript, or one subpath of it (p_subpath not null). Returns 'referenced' and deletes nothing when
-- the session is archived, is or was a head, belongs to a version, or to an attempt that runs or is committed, or is such an
-- attempt's base. The project row is locked first, as by every commit. Texts stay: other sessions may share them.
CREATE FUNCTION session_chain.delete_session(p_project text, p_session text, p_subpath text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_session bigint;
  v_is_archived boolean;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  SELECT s.id, s.archive_part IS NOT NULL INTO v_session, v_is_archived FROM session_chain.sessions s
    WHERE s.project_id = p_project AND s.session_id = p_session FOR UPDATE;
  IF NOT FOUND THEN
    RETURN 'absent';
  END IF;
  -- What an archive holds, or is being written to one, is retention's.
  IF v_is_archived
     OR EXISTS (SELECT FROM projects p WHERE p.project_id = v_id AND p.last_ai_session_id::text = p_session)
     OR EXISTS (SELECT FROM project_versions v WHERE v.project_id = v_id AND v.ai_session_id::text = p_session)
     OR EXISTS (SELECT FROM session_chain.all_transitions(p_project) t
       WHERE p_session IN (t.old_session_id, t.new_session_id, t.parent_session_id))
     OR EXISTS (SELECT FROM session_chain.attempts a WHERE a.project_id = p_project AND a.state <> 'failed'
       AND p_session IN (a.session_id, a.base_session_id, a.adopts)) THEN
    RETURN 'referenced';
  END IF;

  IF p_subpath IS NOT NULL THEN
    DELETE FROM session_chain.transcript_batches b WHERE b.session = v_session AND b.subpath = p_subpath;
  ELSIF EXISTS (SELECT FROM session_chain.attempts a WHERE a.project_id = p_project AND a.session_id = p_session) THEN
    -- The journal refers to this session permanently: its row stays, sealed and empty.
    DELETE FROM session_chain.transcript_batches b WHERE b.session = v_session;
    UPDATE session_chain.sessions s SET entries = 0, messages = 0, context_tokens = 0,
        sealed_at = coalesce(s.sealed_at, clock_timestamp())
      WHERE s.id = v_session;
  ELSE
    DELETE FROM session_chain.sessions s WHERE s.id = v_session;
  END IF;
  RETURN 'deleted';
END
$$;
