-- Closes a chain, frees the project or leaves the queue, and says which chain may take the project next. What it writes
-- is its own: steps as in ended_steps, the project's head, and from these whether the chain is complete and which
-- status, p_succeeded or p_failed, the version gets. p_said is the caller's account {status, head, steps, warnings,
-- failure}; it counts where it says that the chain has not succeeded, and for its texts. May be called again. A call
-- that does not present the chain's ticket changes nothing, nor does a completed chain whose ticket or head the
-- database does not know (`went_back`, see chain_standing). A run that never learnt its ticket (its open was cancelled
-- on the way), or whose ticket the database has lost, is identified by its run id: it drew a ticket, or it drew none
-- and is not the run that closed this chain before.
CREATE FUNCTION session_chain.close_chain(
  p_project text, p_version text, p_build text, p_ticket bigint, p_run_id text, p_said jsonb,
  p_succeeded text, p_failed text)
RETURNS TABLE (outcome text, next_workflow_id text, next_run_id text, next_home text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_project projects;
  v_chain session_chain.chains;
  v_outcome text := 'closed';
  v_steps jsonb := '[]';
  v_undone text[];
  v_status text := p_said ->> 'status';
  v_said_done boolean := v_status IS NULL OR v_status NOT IN ('failed', 'cancelled', 'budget_exceeded');
  v_failure jsonb := p_said -> 'failure';
  v_version_status project_versions.status%TYPE;
BEGIN
  SELECT * INTO v_project FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  SELECT * INTO v_chain FROM session_chain.chains c
    WHERE c.project_id = p_project AND c.version_id = p_version AND c.build_id = p_build;
  IF p_ticket > coalesce(v_chain.last_ticket, 0) AND NOT v_said_done THEN
    p_ticket := NULL;
  END IF;
  IF v_said_done AND session_chain.chain_standing(p_project, v_chain.id, p_ticket, p_said #>> '{head,sessionId}') = 'went_back' THEN
    v_outcome := 'went_back';
  ELSIF v_chain.id IS NULL OR (CASE WHEN p_ticket IS NOT NULL THEN v_chain.ticket IS DISTINCT FROM p_ticket
           WHEN v_chain.ticket IS NOT NULL OR v_chain.closed_at IS NOT NULL THEN v_chain.run_id IS DISTINCT FROM p_run_id
           ELSE v_chain.run_id IS NOT DISTINCT FROM p_run_id END) THEN
    v_outcome := 'fenced';
  ELSIF v_chain.closed_at IS NULL THEN
    IF v_chain.status <> 'queued' THEN
      PERFORM session_chain.end_attempts(session_chain.open_attempts(v_chain));
      UPDATE session_chain.activity_steps s SET state = 'cancelled', ended_at = clock_timestamp()
        WHERE s.chain = v_chain.id AND s.state = 'running';
      UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = v_id;
      v_steps := session_chain.ended_steps(v_chain, p_said);
      -- The assignment casts to the type of the column, which may be an enum. A status that stays is not written: the column may be
      -- generated.
      v_version_status := session_chain.version_status(v_steps, v_chain.deploys, v_status = 'cancelled',
        (SELECT v.status::text FROM project_versions v
         WHERE v.version_id = session_chain.version_key(p_version) AND v.project_id = v_id), p_succeeded, p_failed);
      IF v_version_status IS NULL THEN
        UPDATE project_versions v SET ai_session_id = v_project.last_ai_session_id
          WHERE v.version_id = session_chain.version_key(p_version) AND v.project_id = v_id;
      ELSE
        UPDATE project_versions v SET ai_session_id = v_project.last_ai_session_id, status = v_version_status
          WHERE v.version_id = session_chain.version_key(p_version) AND v.project_id = v_id;
      END IF;
    END IF;
    IF v_said_done THEN
      v_undone := ARRAY(SELECT s ->> 'step' FROM jsonb_array_elements(v_steps) s
        WHERE s ->> 'status' NOT IN ('committed', 'completed', 'skipped'));
      IF v_chain.status = 'queued' OR EXISTS (SELECT FROM jsonb_array_elements(v_chain.plan) p
          WHERE (p ->> 'critical')::boolean AND p ->> 'name' = ANY (v_undone)) THEN
        v_status := 'failed';
        v_failure := jsonb_build_object('code', 'INTERNAL', 'message',
          'The chain was said to be complete, and its critical steps were not: ' || array_to_string(v_undone, ', ') || '.');
      ELSE
        v_status := CASE WHEN v_undone <> '{}' OR p_said @? '$.warnings[*]' THEN 'completed_with_warnings' ELSE 'completed' END;
        v_failure := NULL;
      END IF;
    END IF;
    UPDATE session_chain.chains c SET status = v_status, run_id = p_run_id, waiting_until = NULL, waiting_for = NULL,
      waiting_code = NULL,
      closed_at = clock_timestamp(),
      result = jsonb_build_object('status', v_status, 'steps', v_steps,
          'head', jsonb_build_object('sessionId', v_project.last_ai_session_id, 'seq', v_project.session_seq),
          'warnings', jsonb_path_query_array(p_said, '$.warnings[*] ? (@.type() == "string")'))
        || jsonb_strip_nulls(jsonb_build_object('failure', v_failure))
      WHERE c.id = v_chain.id;
  END IF;
  RETURN QUERY SELECT v_outcome, n.workflow_id, n.run_id, n.home
    FROM (SELECT 1) one LEFT JOIN session_chain.next_in_queue(p_project) n ON true;
END
$$;
