-- Closes a chain whose workflow is over without having closed it, and fences what still works for it. The caller saw
-- this run closed. `former_agent_alive`: the lease of its agent has not expired; ask again after wait_ms or sooner.
-- `not_open`: the chain was closed, or has another run, by now. next_* may then take the project, as with close_chain.
CREATE FUNCTION session_chain.release_chain(p_project text, p_workflow_id text, p_run_id text)
RETURNS TABLE (outcome text, wait_ms integer, next_workflow_id text, next_run_id text, next_home text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_chain session_chain.chains;
  v_outcome text := 'not_open';
  v_wait_ms integer;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  SELECT * INTO v_chain FROM session_chain.chains c
    WHERE c.project_id = p_project AND c.workflow_id = p_workflow_id AND c.run_id = p_run_id AND c.ticket IS NOT NULL
      AND c.closed_at IS NULL;
  IF FOUND THEN
    v_outcome := 'released';
    IF v_chain.status <> 'queued' THEN
      v_wait_ms := session_chain.stop_attempts(session_chain.open_attempts(v_chain));
      IF v_wait_ms IS NOT NULL THEN
        RETURN QUERY SELECT 'former_agent_alive', v_wait_ms, NULL, NULL, NULL;
        RETURN;
      END IF;
      PERFORM session_chain.end_attempts(session_chain.open_attempts(v_chain));
      UPDATE session_chain.activity_steps s SET state = 'cancelled', ended_at = clock_timestamp()
        WHERE s.chain = v_chain.id AND s.state = 'running';
      UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = v_id;
    END IF;
    UPDATE session_chain.chains c SET status = 'failed', ticket = NULL, waiting_until = NULL, waiting_for = NULL, waiting_code = NULL,
        closed_at = clock_timestamp(),
        result = jsonb_build_object('status', 'failed', 'failure', jsonb_build_object('code', 'CHAIN_TERMINATED', 'message',
          'The workflow of this chain is over and the chain was open: the workflow was terminated, timed out, or its history is '
          || 'gone, or the database went back to before its end.'))
      WHERE c.id = v_chain.id;
  END IF;
  RETURN QUERY SELECT v_outcome, NULL::integer, n.workflow_id, n.run_id, n.home
    FROM (SELECT 1) one LEFT JOIN session_chain.next_in_queue(p_project) n ON true;
END
$$;
