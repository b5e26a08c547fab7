-- Registers what a caller wants done, before any workflow exists. An open or completed chain is returned as it is; a
-- failed, cancelled or over-budget one is queued again with the present request, without a ticket, so that anything
-- that still presents the old one is fenced. p_steps is null for all steps of the definition. A refused request changes
-- nothing. `queue_full`: p_max_queued (null: any number) chains of the project are queued. A request that no workflow
-- has taken up counts among them for an hour.
CREATE FUNCTION session_chain.register_chain(
  p_project text, p_version text, p_build text, p_mode text, p_steps text[], p_instruction text, p_workspace text,
  p_create_rows boolean, p_max_queued integer)
RETURNS TABLE (outcome text, chain_id bigint, mode text, status text, queued integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_project projects.project_id%TYPE := session_chain.project_key(p_project);
  v_version project_versions.version_id%TYPE := session_chain.version_key(p_version);
  v_head projects.last_ai_session_id%TYPE;
  v_owner text;
  v_chain session_chain.chains;
  v_queued integer;
  v_may_create boolean := p_create_rows AND (SELECT i.owns_host_tables FROM session_chain.installation i);
BEGIN
  IF NOT v_may_create AND NOT EXISTS (SELECT FROM projects p WHERE p.project_id = v_project) THEN
    RETURN QUERY SELECT 'project_not_found', NULL::bigint, NULL::text, NULL::text, NULL::integer;
    RETURN;
  END IF;
  SELECT v.project_id::text INTO v_owner FROM project_versions v WHERE v.version_id = v_version
    ORDER BY (v.project_id = v_project) DESC LIMIT 1;
  IF v_owner <> p_project OR (v_owner IS NULL AND NOT v_may_create) THEN
    RETURN QUERY SELECT CASE WHEN v_owner IS NULL THEN 'version_not_found' ELSE 'version_of_another_project' END,
      NULL::bigint, NULL::text, NULL::text, NULL::integer;
    RETURN;
  END IF;
  IF v_may_create THEN
    INSERT INTO projects (project_id) VALUES (v_project) ON CONFLICT DO NOTHING;
  END IF;
  SELECT p.last_ai_session_id INTO v_head FROM projects p WHERE p.project_id = v_project FOR NO KEY UPDATE;

  SELECT * INTO v_chain FROM session_chain.chains c
    WHERE c.project_id = p_project AND c.version_id = p_version AND c.build_id = p_build;
  IF v_chain.id IS NULL OR v_chain.status IN ('failed', 'cancelled', 'budget_exceeded') THEN
    SELECT count(*)::integer INTO v_queued FROM session_chain.chains c
      WHERE c.project_id = p_project AND c.status = 'queued'
        AND (c.ticket IS NOT NULL OR c.requested_at > clock_timestamp() - interval '1 hour');
    IF v_queued >= p_max_queued THEN
      RETURN QUERY SELECT 'queue_full', NULL::bigint, NULL::text, NULL::text, v_queued;
      RETURN;
    END IF;
  END IF;
  IF v_may_create THEN
    INSERT INTO project_versions (version_id, project_id) VALUES (v_version, v_project) ON CONFLICT DO NOTHING;
  END IF;
  IF v_chain.id IS NULL THEN
    INSERT INTO session_chain.chains (id, project_id, version_id, build_id, mode, steps, instruction, workspace, status)
    VALUES (session_chain.new_id('session_chain.chains_id_seq'), p_project, p_version, p_build,
      coalesce(p_mode, CASE WHEN v_head IS NULL THEN 'initial' ELSE 'update' END), p_steps, p_instruction, p_workspace, 'queued')
    RETURNING * INTO v_chain;
    RETURN QUERY SELECT 'registered', v_chain.id, v_chain.mode, v_chain.status, NULL::integer;
  ELSIF v_chain.status IN ('failed', 'cancelled', 'budget_exceeded') THEN
    UPDATE session_chain.chains c SET status = 'queued', ticket = NULL, home = NULL, closed_at = NULL, result = NULL,
      failures = '{}', skipped = '{}', budget = NULL,
      requested_at = clock_timestamp(), mode = coalesce(p_mode, c.mode), steps = p_steps, instruction = p_instruction, workspace = p_workspace
    WHERE c.id = v_chain.id RETURNING * INTO v_chain;
    RETURN QUERY SELECT 'registered', v_chain.id, v_chain.mode, v_chain.status, NULL::integer;
  ELSE
    RETURN QUERY SELECT 'exists', v_chain.id, v_chain.mode, v_chain.status, NULL::integer;
  END IF;
END
$$;
