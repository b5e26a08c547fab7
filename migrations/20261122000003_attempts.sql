-- Up Migration
-- The journal of attempts and the functions that take, use and hand on a project's turn. Every function locks the
-- project row in its first statement: whatever it reads afterwards cannot change under it.

CREATE TABLE session_chain.attempts (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text NOT NULL,
  version_id text,
  build_id text NOT NULL,
  step text NOT NULL,
  attempt integer NOT NULL,
  session_id text NOT NULL,
  base_session_id text,
  adopts text,
  input_digest text NOT NULL,
  state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'waiting', 'failed', 'committed')),
  epoch bigint NOT NULL,
  scheduled_at timestamptz NOT NULL,
  worker text NOT NULL,
  lease_ms integer NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  result jsonb,
  failure jsonb,
  UNIQUE NULLS NOT DISTINCT (project_id, version_id, build_id, step, attempt),
  UNIQUE (project_id, session_id),
  FOREIGN KEY (project_id, session_id) REFERENCES session_chain.sessions (project_id, session_id),
  CHECK ((state = 'committed') = (result IS NOT NULL)),
  CHECK ((state IN ('failed', 'waiting')) = (failure IS NOT NULL)),
  CHECK ((state IN ('failed', 'committed')) = (ended_at IS NOT NULL))
);
-- At most one committed transition per (chain, step).
CREATE UNIQUE INDEX attempts_one_committed ON session_chain.attempts (project_id, version_id, build_id, step)
  NULLS NOT DISTINCT WHERE state = 'committed';
COMMENT ON TABLE session_chain.attempts IS 'What is known of every attempt of a step, written before money is spent';
COMMENT ON COLUMN session_chain.attempts.adopts IS 'The finished session of an earlier attempt that this one commits in place of its own';
COMMENT ON COLUMN session_chain.attempts.input_digest IS 'SHA-256 of what the attempt was asked to do, without budgets and time limits';
COMMENT ON COLUMN session_chain.attempts.scheduled_at IS 'When Temporal scheduled this try; an older try than the newest is fenced';

COMMENT ON COLUMN session_chain.attempts.seen_at IS 'When the worker last said that it holds this attempt';
COMMENT ON COLUMN session_chain.attempts.lease_ms IS 'After so much silence the attempt''s agent is surely dead: heartbeat timeout plus kill grace';

-- Registers what a caller wants done, before any workflow exists. An open or completed chain is returned as it is; a
-- failed, cancelled or over-budget one is queued again with the present request. A refused request changes nothing.
CREATE FUNCTION session_chain.register_chain(
  p_project text, p_version text, p_build text, p_mode text, p_steps text[], p_instruction text, p_workspace text,
  p_create_rows boolean)
RETURNS TABLE (outcome text, chain_id bigint, mode text, status text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_project projects.project_id%TYPE := p_project;
  v_head projects.last_ai_session_id%TYPE;
  v_owner text;
  v_chain session_chain.chains;
  v_may_create boolean := p_create_rows AND (SELECT i.owns_host_tables FROM session_chain.installation i);
BEGIN
  IF NOT v_may_create AND NOT EXISTS (SELECT FROM projects p WHERE p.project_id = v_project) THEN
    RETURN QUERY SELECT 'project_not_found', NULL::bigint, NULL::text, NULL::text;
    RETURN;
  END IF;
  SELECT v.project_id::text INTO v_owner FROM project_versions v WHERE v.version_id = p_version
    ORDER BY (v.project_id = v_project) DESC LIMIT 1;
  IF v_owner <> p_project OR (v_owner IS NULL AND NOT v_may_create) THEN
    RETURN QUERY SELECT CASE WHEN v_owner IS NULL THEN 'version_not_found' ELSE 'version_of_another_project' END,
      NULL::bigint, NULL::text, NULL::text;
    RETURN;
  END IF;
  IF v_may_create THEN
    INSERT INTO projects (project_id) VALUES (v_project) ON CONFLICT DO NOTHING;
    INSERT INTO project_versions (version_id, project_id) VALUES (p_version, v_project) ON CONFLICT DO NOTHING;
  END IF;
  SELECT p.last_ai_session_id INTO v_head FROM projects p WHERE p.project_id = v_project FOR NO KEY UPDATE;

  SELECT * INTO v_chain FROM session_chain.chains c
    WHERE c.project_id = p_project AND c.version_id = p_version AND c.build_id = p_build;
  IF NOT FOUND THEN
    INSERT INTO session_chain.chains (project_id, version_id, build_id, mode, steps, instruction, workspace, status)
    VALUES (p_project, p_version, p_build,
      coalesce(p_mode, CASE WHEN v_head IS NULL THEN 'initial' ELSE 'update' END), p_steps, p_instruction, p_workspace, 'queued')
    RETURNING * INTO v_chain;
    RETURN QUERY SELECT 'registered', v_chain.id, v_chain.mode, v_chain.status;
  ELSIF v_chain.status IN ('failed', 'cancelled', 'budget_exceeded') THEN
    UPDATE session_chain.chains c SET status = 'queued', closed_at = NULL, result = NULL, mode = coalesce(p_mode, c.mode),
      steps = p_steps, instruction = p_instruction, workspace = p_workspace
    WHERE c.id = v_chain.id RETURNING * INTO v_chain;
    RETURN QUERY SELECT 'registered', v_chain.id, v_chain.mode, v_chain.status;
  ELSE
    RETURN QUERY SELECT 'exists', v_chain.id, v_chain.mode, v_chain.status;
  END IF;
END
$$;

-- Takes the project's turn for a chain. `busy` names the run that holds it; the caller that saw this very run closed passes
-- it as p_gone_run and takes over, once its agent is surely dead too (`former_agent_alive`: ask again after wait_ms). A head that somebody moved outside is adopted as an
-- `import` transition; one that was cleared is put back, and the chain starts from no session.
CREATE FUNCTION session_chain.open_chain(p_project text, p_chain bigint, p_run_id text, p_gone_run text)
RETURNS TABLE (outcome text, head_session_id text, base_session_id text, seq bigint, adopted_session_id text,
  head_was_cleared boolean, turn bigint, holder_workflow_id text, holder_run_id text, wait_ms integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_project projects;
  v_chain session_chain.chains;
  v_holder session_chain.chains;
  v_last text;
  v_adopted text;
  v_cleared boolean := false;
  v_wait_ms integer;
BEGIN
  SELECT * INTO v_project FROM projects p WHERE p.project_id = p_project FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'project_not_found', NULL, NULL, NULL::bigint, NULL, false, NULL::bigint, NULL, NULL, NULL::integer;
    RETURN;
  END IF;
  SELECT * INTO STRICT v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
  IF v_chain.closed_at IS NOT NULL THEN
    RETURN QUERY SELECT 'fenced', NULL, NULL, NULL::bigint, NULL, false, NULL::bigint, NULL, NULL, NULL::integer;
    RETURN;
  END IF;

  SELECT * INTO v_holder FROM session_chain.chains c WHERE c.project_id = p_project AND c.status IN ('running', 'waiting');
  IF FOUND AND v_holder.run_id <> p_run_id THEN
    IF p_gone_run IS DISTINCT FROM v_holder.run_id THEN
      RETURN QUERY SELECT 'busy', NULL, NULL, NULL::bigint, NULL, false, NULL::bigint, v_holder.workflow_id, v_holder.run_id,
        NULL::integer;
      RETURN;
    END IF;
    v_wait_ms := session_chain.stop_alive_attempt(v_holder);
    IF v_wait_ms IS NOT NULL THEN
      RETURN QUERY SELECT 'former_agent_alive', NULL, NULL, NULL::bigint, NULL, false, NULL::bigint, v_holder.workflow_id,
        v_holder.run_id, v_wait_ms;
      RETURN;
    END IF;
    PERFORM session_chain.end_open_attempts(v_holder);
    IF v_holder.id <> p_chain THEN
      UPDATE session_chain.chains c SET status = 'failed', turn = NULL, waiting_until = NULL, closed_at = clock_timestamp(), result = jsonb_build_object(
          'status', 'failed', 'failure', jsonb_build_object('code', 'FENCED',
            'message', 'The workflow of this chain closed without handing on the turn; ' || v_chain.workflow_id || ' took over.'))
        WHERE c.id = v_holder.id;
    END IF;
  END IF;

  SELECT t.new_session_id INTO v_last FROM session_transitions t
    WHERE t.project_id = p_project AND t.seq = v_project.session_seq;
  IF v_project.last_ai_session_id IS NULL AND v_last IS NOT NULL THEN
    v_cleared := true;
    v_project.last_ai_session_id := v_last;
  ELSIF v_project.last_ai_session_id IS DISTINCT FROM v_last THEN
    v_adopted := v_project.last_ai_session_id;
    v_project.session_seq := coalesce(v_project.session_seq, 0) + 1;
    INSERT INTO session_transitions (project_id, version_id, old_session_id, new_session_id, source, created_at, seq, prev_seq)
    VALUES (p_project, NULL, v_last, v_adopted, 'import', clock_timestamp(), v_project.session_seq,
      nullif(v_project.session_seq - 1, 0));
  END IF;
  UPDATE projects p SET session_epoch = p.session_epoch + 1, session_seq = v_project.session_seq,
      last_ai_session_id = v_project.last_ai_session_id
    WHERE p.project_id = v_project.project_id RETURNING p.session_epoch INTO v_project.session_epoch;

  IF NOT v_cleared AND v_project.last_ai_session_id IS NOT NULL
     AND NOT session_chain.session_is_usable(p_project, v_project.last_ai_session_id) THEN
    RETURN QUERY SELECT 'session_not_in_store', v_project.last_ai_session_id::text, NULL, v_project.session_seq, v_adopted,
      false, NULL::bigint, NULL, NULL, NULL::integer;
    RETURN;
  END IF;

  UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL, run_id = p_run_id, turn = v_project.session_epoch, opened_at = clock_timestamp(),
      base_session_id = CASE WHEN v_cleared THEN NULL ELSE v_project.last_ai_session_id END
    WHERE c.id = p_chain RETURNING * INTO v_chain;
  UPDATE project_versions v SET ai_session_id = v_chain.base_session_id
    WHERE v.version_id = v_chain.version_id AND v.project_id = v_project.project_id AND v_chain.base_session_id IS NOT NULL;
  RETURN QUERY SELECT 'opened', v_project.last_ai_session_id::text, v_chain.base_session_id, v_project.session_seq, v_adopted,
    v_cleared, v_chain.turn, NULL, NULL, NULL::integer;
END
$$;

-- Ends what a chain left running: its sessions take no further entry, its attempts are failed.
CREATE FUNCTION session_chain.end_open_attempts(p_chain session_chain.chains) RETURNS void
LANGUAGE sql AS $$
  WITH ended AS (
    UPDATE session_chain.attempts a
    SET state = 'failed', ended_at = clock_timestamp(),
      failure = coalesce(a.failure, '{"code": "WORKER_LOST", "message": "Nobody saw this attempt end."}')
    WHERE a.project_id = p_chain.project_id AND a.version_id = p_chain.version_id AND a.build_id = p_chain.build_id
      AND a.state IN ('running', 'waiting')
    RETURNING a.project_id, a.session_id
  )
  UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
  FROM ended e WHERE s.project_id = e.project_id AND s.session_id = e.session_id AND s.sealed_at IS NULL;
$$;

-- Whether a chain's former agent may still be alive: null for no, else how many ms until it is surely dead. An attempt
-- counts as alive until its lease has passed in silence; meanwhile its session is sealed and its worker told to stop.
CREATE FUNCTION session_chain.stop_alive_attempt(p_chain session_chain.chains) RETURNS integer
LANGUAGE sql AS $$
  WITH alive AS (
    SELECT a.id, a.project_id, a.session_id, a.seen_at + a.lease_ms * interval '1 ms' - clock_timestamp() AS left
    FROM session_chain.attempts a
    WHERE a.project_id = p_chain.project_id AND a.version_id = p_chain.version_id AND a.build_id = p_chain.build_id
      AND a.state = 'running' AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp()
  ), seal AS (
    UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
    FROM alive WHERE s.project_id = alive.project_id AND s.session_id = alive.session_id AND s.sealed_at IS NULL
  )
  SELECT max(ceil(extract(epoch FROM alive.left) * 1000))::integer
  FROM alive, pg_notify('session_chain_stop', 'attempt:' || alive.id);
$$;

-- Begins an attempt of a step, before any money is spent. `committed` returns the stored result of a step that is done;
-- `fenced` refuses whoever does not present the turn that the chain holds, and a try older than the newest one.
-- `former_agent_alive`: an earlier attempt's worker was heard of less than its lease ago. Its session is sealed and its
-- worker told to stop; the caller asks again after wait_ms, or sooner, for the worker may say that it has stopped.
-- With `begun` come the sessions of earlier attempts that were asked the same of the same base, the newest first.
CREATE FUNCTION session_chain.begin_attempt(
  p_project text, p_chain bigint, p_turn bigint, p_step text, p_base text, p_input_digest text, p_scheduled_at timestamptz,
  p_worker text, p_lease_ms integer)
RETURNS TABLE (outcome text, attempt_id bigint, attempt integer, session_id text, epoch bigint, result jsonb,
  wait_ms integer, earlier_session_ids text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_chain session_chain.chains;
  v_newest session_chain.attempts;
  v_wait_ms integer;
  v_epoch bigint;
  v_attempt session_chain.attempts;
  v_session text := gen_random_uuid();
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = p_project FOR NO KEY UPDATE;
  SELECT * INTO v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
  SELECT * INTO v_attempt FROM session_chain.attempts a
    WHERE a.project_id = p_project AND a.version_id = v_chain.version_id AND a.build_id = v_chain.build_id
      AND a.step = p_step AND a.state = 'committed';
  IF FOUND THEN
    RETURN QUERY SELECT 'committed', v_attempt.id, v_attempt.attempt, v_attempt.session_id, v_attempt.epoch, v_attempt.result,
      NULL::integer, NULL::text[];
    RETURN;
  END IF;
  SELECT * INTO v_newest FROM session_chain.attempts a
    WHERE a.project_id = p_project AND a.version_id = v_chain.version_id AND a.build_id = v_chain.build_id
      AND a.step = p_step ORDER BY a.attempt DESC LIMIT 1;
  IF v_chain.status IS NULL OR v_chain.status NOT IN ('running', 'waiting') OR v_chain.turn IS DISTINCT FROM p_turn
     OR v_newest.scheduled_at > p_scheduled_at THEN
    RETURN QUERY SELECT 'fenced', NULL::bigint, NULL::integer, NULL, NULL::bigint, NULL::jsonb, NULL::integer, NULL::text[];
    RETURN;
  END IF;

  -- From here on nobody else moves the head of this project, and no earlier session takes an entry.
  UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = p_project
    RETURNING p.session_epoch INTO v_epoch;
  v_wait_ms := session_chain.stop_alive_attempt(v_chain);
  IF v_wait_ms IS NOT NULL THEN
    RETURN QUERY SELECT 'former_agent_alive', NULL::bigint, NULL::integer, NULL, NULL::bigint, NULL::jsonb, v_wait_ms,
      NULL::text[];
    RETURN;
  END IF;

  PERFORM session_chain.end_open_attempts(v_chain);
  UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL WHERE c.id = p_chain AND c.status = 'waiting';
  INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id) VALUES (p_project, v_session, p_base);
  INSERT INTO session_chain.attempts (project_id, version_id, build_id, step, attempt, session_id, base_session_id,
    input_digest, epoch, scheduled_at, worker, lease_ms)
  VALUES (p_project, v_chain.version_id, v_chain.build_id, p_step, coalesce(v_newest.attempt, 0) + 1, v_session, p_base,
    p_input_digest, v_epoch, p_scheduled_at, p_worker, p_lease_ms)
  RETURNING * INTO v_attempt;
  RETURN QUERY SELECT 'begun', v_attempt.id, v_attempt.attempt, v_session, v_epoch, NULL::jsonb, NULL::integer,
    ARRAY(SELECT a.session_id FROM session_chain.attempts a
      WHERE a.project_id = p_project AND a.version_id = v_chain.version_id AND a.build_id = v_chain.build_id
        AND a.step = p_step AND a.attempt < v_attempt.attempt AND a.input_digest = p_input_digest
        AND a.base_session_id IS NOT DISTINCT FROM p_base AND session_chain.session_is_usable(p_project, a.session_id)
      ORDER BY a.attempt DESC);
END
$$;

-- Closes a chain and hands on the turn. May be called again; whoever does not hold the chain's turn changes nothing. A run
-- that never learnt its turn (its open was cancelled on the way) is known by its run id.
CREATE FUNCTION session_chain.close_chain(
  p_project text, p_chain bigint, p_turn bigint, p_run_id text, p_status text, p_result jsonb, p_version_status text)
RETURNS TABLE (outcome text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_project projects;
  v_chain session_chain.chains;
BEGIN
  SELECT * INTO v_project FROM projects p WHERE p.project_id = p_project FOR NO KEY UPDATE;
  SELECT * INTO STRICT v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
  IF v_chain.status <> 'queued'
     AND (CASE WHEN p_turn IS NULL THEN v_chain.run_id IS DISTINCT FROM p_run_id ELSE v_chain.turn IS DISTINCT FROM p_turn END) THEN
    RETURN QUERY SELECT 'fenced';
    RETURN;
  ELSIF v_chain.closed_at IS NOT NULL THEN
    RETURN QUERY SELECT 'closed';
    RETURN;
  END IF;
  IF v_chain.status <> 'queued' THEN
    PERFORM session_chain.end_open_attempts(v_chain);
    UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = p_project;
    UPDATE project_versions v SET status = coalesce(p_version_status, v.status), ai_session_id = v_project.last_ai_session_id
      WHERE v.version_id = v_chain.version_id AND v.project_id = v_project.project_id;
  END IF;
  UPDATE session_chain.chains c SET status = p_status, run_id = coalesce(c.run_id, p_run_id), waiting_until = NULL, closed_at = clock_timestamp(), result = p_result
    WHERE c.id = p_chain;
  RETURN QUERY SELECT 'closed';
END
$$;
