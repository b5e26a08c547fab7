-- Takes the project for a chain, or a position in the queue. p_ticket is the one that the caller knows; a run that
-- knows none draws one, and keeps it when the call is repeated. `queued` names what is in the way: an earlier run of
-- this chain, the holder, or the first in the queue. A caller that saw the run in the way closed passes it as
-- p_gone_run: it is taken out once the lease of its agent has expired as well (`former_agent_alive`: ask again after
-- wait_ms). A database that went back to an earlier state may not know that ticket any more: then the run draws
-- another. Where it knows the ticket, and a head or an attempt less, the run opens again, and counts its openings.
-- `request_lost`: there is no row. p_options, all optional: opening, from 1; plan, the steps in their order as [{name,
-- kind, role, critical}]; deploys, whether the definition has a step that deploys, in the plan or not; budget, what the
-- whole chain may take; resetOperations and resetTokens, past which a build starts a fresh session (0: never); recover,
-- to continue from an ancestor of a head whose transcript never was here; recovery {head, base}, what to continue from
-- in place of a head that is lost (base null: a fresh session). `head_lost` asks for the latter.
CREATE FUNCTION session_chain.open_chain(
  p_project text, p_chain bigint, p_run_id text, p_ticket bigint, p_home text, p_gone_run text, p_options jsonb DEFAULT '{}')
RETURNS TABLE (outcome text, head_session_id text, base_session_id text, seq bigint, adopted_session_id text,
  head_was_cleared boolean, ticket bigint, "position" integer, blocker_workflow_id text, blocker_run_id text,
  blocker_home text, blocker_holds boolean, wait_ms integer, origin jsonb)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_chain session_chain.chains;
  v_blocker session_chain.chains;
  v_head record;
  v_fitness text;
  v_wait_ms integer;
  v_origin jsonb;
  v_outcome text := 'opened';
  v_opening integer := coalesce((p_options ->> 'opening')::integer, 1);
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    outcome := 'project_not_found';
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT * INTO v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
  IF v_chain.id IS NULL THEN
    outcome := 'request_lost';
    RETURN NEXT;
    RETURN;
  END IF;
  IF p_ticket > coalesce(v_chain.last_ticket, 0) THEN
    p_ticket := NULL;
  END IF;
  -- A new run was started while the chain was being closed for its former one: it is queued again.
  IF v_chain.result -> 'failure' ->> 'code' = 'CHAIN_TERMINATED' AND p_ticket IS NULL AND v_chain.run_id <> p_run_id THEN
    UPDATE session_chain.chains c SET status = 'queued', ticket = NULL, home = NULL, closed_at = NULL, result = NULL,
        failures = '{}', requested_at = clock_timestamp()
      WHERE c.id = p_chain RETURNING * INTO v_chain;
  END IF;
  -- A call that was delayed until the chain works would fence the work that is under way.
  IF v_chain.closed_at IS NOT NULL OR (p_ticket IS NOT NULL AND p_ticket IS DISTINCT FROM v_chain.ticket)
     OR (v_chain.status <> 'queued' AND v_chain.run_id = p_run_id AND v_chain.opening >= v_opening AND EXISTS (
       SELECT FROM session_chain.attempts a WHERE a.chain = p_chain AND a.ticket = v_chain.ticket)) THEN
    outcome := 'fenced';
    RETURN NEXT;
    RETURN;
  END IF;

  LOOP
    -- Until this run has a ticket, only an earlier run of the chain can be in its way.
    IF v_chain.ticket IS NOT NULL AND p_ticket IS NULL AND v_chain.run_id <> p_run_id THEN
      v_blocker := v_chain;
    ELSE
      IF v_chain.ticket IS NULL THEN
        p_ticket := session_chain.new_id('session_chain.tickets');
        UPDATE session_chain.chains c SET ticket = p_ticket, last_ticket = p_ticket, run_id = p_run_id, home = p_home
          WHERE c.id = p_chain RETURNING * INTO v_chain;
      END IF;
      SELECT * INTO v_blocker FROM session_chain.chains c
        WHERE v_chain.status = 'queued' AND c.project_id = p_project AND c.closed_at IS NULL AND c.id <> p_chain
          AND (c.status <> 'queued' OR c.ticket < v_chain.ticket)
        ORDER BY c.status <> 'queued' DESC, c.ticket LIMIT 1;
      EXIT WHEN NOT FOUND;
    END IF;
    IF v_blocker.run_id IS DISTINCT FROM p_gone_run THEN
      RETURN QUERY SELECT 'queued', NULL, NULL, NULL::bigint, NULL, false,
        CASE WHEN v_blocker.id <> p_chain THEN v_chain.ticket END,
        (SELECT count(*)::integer FROM session_chain.chains c WHERE c.project_id = p_project AND c.closed_at IS NULL
          AND c.status = 'queued' AND c.ticket <= v_chain.ticket),
        v_blocker.workflow_id, v_blocker.run_id, v_blocker.home, v_blocker.status <> 'queued', NULL::integer, NULL::jsonb;
      RETURN;
    END IF;
    IF v_blocker.id = p_chain THEN
      v_wait_ms := session_chain.stop_attempts(session_chain.open_attempts(v_blocker));
      IF v_wait_ms IS NULL THEN
        PERFORM session_chain.end_attempts(session_chain.open_attempts(v_blocker));
        UPDATE session_chain.activity_steps s SET state = 'cancelled', ended_at = clock_timestamp()
          WHERE s.chain = p_chain AND s.state = 'running';
        UPDATE session_chain.chains c SET status = 'queued', waiting_until = NULL, waiting_for = NULL, waiting_code = NULL, ticket = NULL
          WHERE c.id = p_chain RETURNING * INTO v_chain;
      END IF;
    ELSE
      SELECT r.wait_ms INTO v_wait_ms FROM session_chain.release_chain(p_project, v_blocker.workflow_id, p_gone_run) r;
    END IF;
    IF v_wait_ms IS NOT NULL THEN
      RETURN QUERY SELECT 'former_agent_alive', NULL, NULL, NULL::bigint, NULL, false, NULL::bigint, NULL::integer,
        v_blocker.workflow_id, v_blocker.run_id, v_blocker.home, true, v_wait_ms, NULL::jsonb;
      RETURN;
    END IF;
  END LOOP;

  SELECT * INTO v_head FROM session_chain.adopt_head(p_project, 1);
  v_fitness := CASE WHEN NOT v_head.was_cleared THEN session_chain.session_fitness(p_project, v_head.session_id) END;
  IF v_fitness IS NULL THEN
    v_origin := '{"kind": "fresh"}';
  -- The step that continues from an archived one restores it.
  ELSIF v_fitness IN ('whole', 'archived') THEN
    v_origin := session_chain.origin_at_head(v_chain, v_head.session_id, v_head.seq, p_options);
  ELSIF p_options #>> '{recovery,head}' = v_head.session_id THEN
    v_origin := '{"kind": "recovery"}';
  ELSIF (p_options ->> 'recover')::boolean OR v_fitness <> 'unknown' THEN
    v_outcome := 'head_lost';
  ELSE
    v_outcome := 'session_not_in_store';
  END IF;
  IF v_outcome = 'opened' THEN
    v_origin := v_origin || jsonb_build_object('headSessionId', v_head.session_id, 'headSeq', v_head.seq);
    UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL, waiting_for = NULL, waiting_code = NULL, run_id = p_run_id,
        home = p_home, opening = v_opening, opened_at = clock_timestamp(), origin = v_origin,
        plan = coalesce(p_options -> 'plan', c.plan), deploys = coalesce((p_options ->> 'deploys')::boolean, false),
        budget = p_options -> 'budget',
        base_session_id = CASE v_origin ->> 'kind' WHEN 'head' THEN v_head.session_id
          WHEN 'recovery' THEN p_options #>> '{recovery,base}' END
      WHERE c.id = p_chain RETURNING * INTO v_chain;
    UPDATE project_versions v SET ai_session_id = v_head.session_id, ai_session_last_used_at = v_chain.opened_at
      WHERE v.version_id = session_chain.version_key(v_chain.version_id) AND v.project_id = v_id
        AND v_origin ->> 'kind' <> 'fresh';
  END IF;
  RETURN QUERY SELECT v_outcome, v_head.session_id::text, v_chain.base_session_id, v_head.seq::bigint,
    v_head.adopted_session_id::text, v_head.was_cleared::boolean, v_chain.ticket, NULL::integer, NULL, NULL, NULL, NULL::boolean,
    NULL::integer, v_origin;
END
$$;
