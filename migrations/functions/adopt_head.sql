-- Makes the head and the last transition of a locked project agree again, and raises its epoch by p_raise. A head that
-- was moved outside is adopted as an `import` transition; one that was cleared is restored; `was_cleared` tells the
-- caller to start from no session.
CREATE FUNCTION session_chain.adopt_head(p_project text, p_raise integer)
RETURNS TABLE (session_id text, seq bigint, epoch bigint, adopted_session_id text, was_cleared boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_project projects;
  v_last text;
  v_adopted text;
  v_cleared boolean := false;
BEGIN
  SELECT * INTO STRICT v_project FROM projects p WHERE p.project_id = v_id;
  SELECT t.new_session_id INTO v_last FROM session_transitions t
    WHERE t.project_id = session_chain.transition_project_key(p_project) AND t.seq = v_project.session_seq;
  IF v_project.last_ai_session_id IS NULL AND v_last IS NOT NULL THEN
    v_cleared := true;
    v_project.last_ai_session_id := v_last;
  ELSIF v_project.last_ai_session_id IS DISTINCT FROM v_last THEN
    v_adopted := v_project.last_ai_session_id;
    v_project.session_seq := coalesce(v_project.session_seq, 0) + 1;
    INSERT INTO session_transitions (project_id, version_id, old_session_id, new_session_id, source, created_at, seq, prev_seq)
    VALUES (v_id, NULL, v_last, v_adopted, 'import', clock_timestamp(), v_project.session_seq,
      nullif(v_project.session_seq - 1, 0));
  END IF;
  IF v_cleared OR v_adopted IS NOT NULL OR p_raise > 0 THEN
    UPDATE projects p SET session_epoch = p.session_epoch + p_raise, session_seq = v_project.session_seq,
        last_ai_session_id = v_project.last_ai_session_id
      WHERE p.project_id = v_id RETURNING p.session_epoch INTO v_project.session_epoch;
  END IF;
  RETURN QUERY SELECT v_project.last_ai_session_id::text, v_project.session_seq, v_project.session_epoch, v_adopted, v_cleared;
END
$$;
