-- Begins an attempt of an operation, before any money is spent.
--
-- In a chain (p_chain): it works on p_base and carries the epoch that it raises, so that nothing else moves the head;
-- every open attempt of the chain is stopped and ended first. It presents its ticket, and in p_while_head the head that
-- it knows; see chain_standing for what is refused then. `fenced` also refuses what comes late: a try that is older
-- than the newest of its step, and a step after which another step has begun. Version and build are the chain's. head_*
-- is what the last transition made the head, so that the commit is fenced where the head has been moved outside since;
-- head_is_whole is null.
--
-- Outside a chain (a question, a recorded operation, an import, a rewind): p_build names the operation and p_step is
-- its source; only its own earlier attempt is stopped and ended. `session_of_another_project` refuses a p_session that
-- is another project's. It carries the epoch that it reads, none while a chain
-- holds the project, so that it cannot move the head. A head that was moved outside is adopted, unless a chain holds.
-- It forks p_base as long as the head is p_while_head, else the head; no session where the head was cleared. A rewind
-- forks p_base whatever the head is. Without p_version the newest version moves along, where there is one.
--
-- `committed` returns the stored result of an operation that is done. `former_agent_alive`: the lease of an earlier
-- attempt has not expired. Its session is sealed and its worker told to stop; the caller asks again after wait_ms, or
-- sooner, because the worker may report that it has stopped. With `begun` come the whole sessions of earlier attempts
-- that were asked the same, in a chain those on the same base, as [{sessionId, baseSessionId}], newest first.
CREATE FUNCTION session_chain.begin_operation(
  p_project text, p_chain bigint, p_ticket bigint, p_version text, p_build text, p_step text, p_round integer, p_role text,
  p_session text, p_base text, p_while_head text, p_input_digest text, p_scheduled_at timestamptz, p_worker text,
  p_lease_ms integer)
RETURNS TABLE (outcome text, attempt_id bigint, attempt integer, version_id text, build_id text, session_id text,
  base_session_id text, head_session_id text, head_seq bigint, head_is_whole boolean, epoch bigint, adopted_session_id text,
  result jsonb, wait_ms integer, earlier jsonb, holder_workflow_id text, holder_run_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := session_chain.project_key(p_project);
  v_chain session_chain.chains;
  v_holder session_chain.chains;
  v_newest session_chain.attempts;
  v_attempt session_chain.attempts;
  v_version project_versions.version_id%TYPE := session_chain.version_key(p_version);
  v_owner text;
  v_planned text[];
  v_open bigint[];
  v_standing text;
  v_head record;
  v_base text := p_base;
  v_session text := coalesce(p_session, gen_random_uuid()::text);
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    outcome := 'project_not_found';
    RETURN NEXT;
    RETURN;
  END IF;

  IF p_chain IS NULL THEN
    SELECT * INTO v_newest FROM session_chain.attempts a
      WHERE a.chain IS NULL AND a.project_id = p_project AND a.build_id = p_build AND a.step = p_step
      ORDER BY a.attempt DESC LIMIT 1;
  ELSE
    SELECT * INTO v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
    SELECT * INTO v_newest FROM session_chain.attempts a
      WHERE a.chain = v_chain.id AND a.step = p_step AND a.round = p_round ORDER BY a.attempt DESC LIMIT 1;
  END IF;
  -- Nothing begins after a committed attempt, so it is the newest.
  IF v_newest.state = 'committed' THEN
    outcome := 'committed';
    attempt_id := v_newest.id;
    attempt := v_newest.attempt;
    version_id := v_newest.version_id;
    build_id := v_newest.build_id;
    session_id := v_newest.session_id;
    base_session_id := v_newest.base_session_id;
    epoch := v_newest.epoch;
    result := v_newest.result;
    RETURN NEXT;
    RETURN;
  END IF;

  IF p_chain IS NOT NULL THEN
    v_standing := session_chain.chain_standing(p_project, p_chain, p_ticket, p_while_head);
    IF v_standing <> 'holds' THEN
      outcome := v_standing;
      version_id := v_chain.version_id;
      RETURN NEXT;
      RETURN;
    END IF;
    v_planned := ARRAY(SELECT s ->> 'name' FROM jsonb_array_elements(v_chain.plan) WITH ORDINALITY AS planned (s, n) ORDER BY n);
    -- Temporal's clock may jump: it only compares tries of one step under one ticket. Between steps their order counts.
    IF (v_newest.ticket = p_ticket AND v_newest.scheduled_at > p_scheduled_at)
       OR EXISTS (SELECT FROM session_chain.attempts a
         WHERE a.chain = p_chain AND a.ticket = p_ticket
           AND CASE WHEN a.step = p_step THEN a.round > p_round
                    WHEN v_newest.ticket = p_ticket THEN a.id > v_newest.id
                    ELSE a.round >= p_round AND array_position(v_planned, a.step) > array_position(v_planned, p_step)
               END) THEN
      outcome := 'fenced';
      RETURN NEXT;
      RETURN;
    END IF;
    -- From here on nothing else moves the head of this project, and no earlier session takes an entry.
    UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = v_id
      RETURNING (SELECT t.new_session_id::text FROM session_transitions t
          WHERE t.project_id = session_chain.transition_project_key(p_project) AND t.seq = p.session_seq) AS session_id,
        p.session_seq AS seq, p.session_epoch AS epoch, NULL::text AS adopted_session_id INTO v_head;
    v_open := session_chain.open_attempts(v_chain);
  ELSE
    IF p_version IS NULL THEN
      SELECT v.version_id INTO v_version FROM project_versions v WHERE v.project_id = v_id ORDER BY v.created_at DESC LIMIT 1;
    ELSE
      SELECT v.project_id::text INTO v_owner FROM project_versions v WHERE v.version_id = v_version
        ORDER BY (v.project_id = v_id) DESC LIMIT 1;
      IF v_owner IS DISTINCT FROM p_project THEN
        outcome := CASE WHEN v_owner IS NULL THEN 'version_not_found' ELSE 'version_of_another_project' END;
        RETURN NEXT;
        RETURN;
      END IF;
    END IF;
    v_open := ARRAY[v_newest.id];
  END IF;

  wait_ms := session_chain.stop_attempts(v_open);
  IF wait_ms IS NOT NULL THEN
    outcome := 'former_agent_alive';
    RETURN NEXT;
    RETURN;
  END IF;
  PERFORM session_chain.end_attempts(v_open);

  IF p_chain IS NOT NULL THEN
    UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL, waiting_for = NULL, waiting_code = NULL
      WHERE c.id = p_chain AND c.status = 'waiting';
  ELSE
    SELECT * INTO v_holder FROM session_chain.holder_of(p_project);
    IF FOUND THEN
      SELECT p.last_ai_session_id::text AS session_id, p.session_seq AS seq, NULL::bigint AS epoch,
        NULL::text AS adopted_session_id, false AS was_cleared INTO v_head FROM projects p WHERE p.project_id = v_id;
    ELSE
      SELECT * INTO v_head FROM session_chain.adopt_head(p_project, 0);
    END IF;
    v_base := CASE WHEN p_step = 'rewind' AND p_base IS NOT NULL THEN p_base
                   WHEN v_head.was_cleared THEN NULL
                   WHEN p_base IS NOT NULL AND p_while_head IS NOT DISTINCT FROM v_head.session_id THEN p_base
                   ELSE v_head.session_id END;
    head_is_whole := coalesce(session_chain.session_fitness(p_project, v_head.session_id) = 'whole', false);
  END IF;

  -- Of two projects that begin with one session at once, the second waits here and gets no row.
  INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id)
    SELECT p_project, v_session, v_base
    WHERE p_session IS NULL OR NOT session_chain.is_of_another_project(p_project, p_session)
    ON CONFLICT DO NOTHING;
  IF NOT EXISTS (SELECT FROM session_chain.sessions s WHERE s.project_id = p_project AND s.session_id = v_session) THEN
    outcome := 'session_of_another_project';
    RETURN NEXT;
    RETURN;
  END IF;
  INSERT INTO session_chain.attempts (id, project_id, version_id, build_id, chain, ticket, step, round, role, attempt, session_id,
    base_session_id, input_digest, epoch, scheduled_at, worker, lease_ms)
  VALUES (session_chain.new_id('session_chain.attempts_id_seq'), p_project, coalesce(v_chain.version_id, v_version::text), coalesce(v_chain.build_id, p_build), p_chain,
    CASE WHEN p_chain IS NOT NULL THEN p_ticket END, p_step, coalesce(p_round, 1), p_role, coalesce(v_newest.attempt, 0) + 1,
    v_session, v_base, p_input_digest, v_head.epoch, coalesce(p_scheduled_at, clock_timestamp()), p_worker, p_lease_ms)
  ON CONFLICT (project_id, session_id) DO NOTHING
  RETURNING * INTO v_attempt;
  IF v_attempt.id IS NULL THEN
    outcome := 'session_in_journal';
    RETURN NEXT;
    RETURN;
  END IF;

  outcome := 'begun';
  attempt_id := v_attempt.id;
  attempt := v_attempt.attempt;
  version_id := v_attempt.version_id;
  build_id := v_attempt.build_id;
  session_id := v_session;
  base_session_id := v_base;
  head_session_id := v_head.session_id;
  head_seq := v_head.seq;
  epoch := v_head.epoch;
  adopted_session_id := v_head.adopted_session_id;
  holder_workflow_id := v_holder.workflow_id;
  holder_run_id := v_holder.run_id;
  earlier := coalesce((
    SELECT jsonb_agg(jsonb_build_object('sessionId', a.session_id, 'baseSessionId', a.base_session_id,
      'parentSessionId', s.parent_session_id) ORDER BY a.id DESC)
    FROM session_chain.attempts a JOIN session_chain.sessions s USING (project_id, session_id)
    WHERE v_attempt.attempt > 1 AND a.project_id = p_project AND a.build_id = v_attempt.build_id AND a.step = p_step
      AND a.chain IS NOT DISTINCT FROM p_chain AND a.round = v_attempt.round AND a.id < v_attempt.id
      AND a.input_digest = p_input_digest AND (p_chain IS NULL OR a.base_session_id IS NOT DISTINCT FROM v_base)
      AND session_chain.session_fitness(p_project, a.session_id) = 'whole'), '[]');
  RETURN NEXT;
END
$$;
