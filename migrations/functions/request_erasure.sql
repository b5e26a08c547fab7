-- Records that a project is to be erased; from then on nothing is begun in it. `requested`, or `under_way` with the
-- erasure that is. `on_hold`: the project is on legal hold. `unknown`: nothing of it is here, and none was erased under this
-- id. p_dry_run: `planned` with what there is to erase, and records nothing.
CREATE FUNCTION session_chain.request_erasure(p_project text, p_by text, p_reason text, p_dry_run boolean)
RETURNS TABLE (outcome text, erasure_id uuid, counts jsonb)
LANGUAGE plpgsql AS $$
DECLARE
  v_id uuid;
  v_counts jsonb;
BEGIN
  IF NOT p_dry_run THEN
    -- Waits for what is just beginning.
    PERFORM pg_advisory_xact_lock(hashtextextended('session_chain erase ' || p_project, 0));
    SELECT e.id INTO v_id FROM session_chain.erasures e WHERE e.project_id = p_project AND e.finished_at IS NULL;
    IF FOUND THEN
      RETURN QUERY SELECT 'under_way', v_id, NULL::jsonb;
      RETURN;
    END IF;
  END IF;
  IF EXISTS (SELECT FROM session_chain.project_retention r WHERE r.project_id = p_project AND r.held_at IS NOT NULL) THEN
    RETURN QUERY SELECT 'on_hold', NULL::uuid, NULL::jsonb;
    RETURN;
  END IF;
  v_counts := session_chain.count_erased(p_project, true);
  IF v_counts = '{}' AND NOT EXISTS (SELECT FROM session_chain.erasures e WHERE e.project_id = p_project)
      AND NOT EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(p_project)) THEN
    RETURN QUERY SELECT 'unknown', NULL::uuid, NULL::jsonb;
  ELSIF p_dry_run THEN
    RETURN QUERY SELECT 'planned', NULL::uuid, v_counts;
  ELSE
    INSERT INTO session_chain.erasures (project_id, requested_by, reason) VALUES (p_project, p_by, p_reason) RETURNING id INTO v_id;
    RETURN QUERY SELECT 'requested', v_id, NULL::jsonb;
  END IF;
END
$$;
