-- Up Migration
-- Turn taking. A chain draws a number when it first asks for its project; the lowest open number of a project works, the
-- others wait in line. The same number proves, from then on, that somebody works for the chain.

CREATE SEQUENCE session_chain.turns AS bigint;
-- Above whatever proved a turn until now.
SELECT setval('session_chain.turns', greatest((SELECT max(p.session_epoch) FROM projects p), 1));

ALTER TABLE session_chain.chains
  ADD COLUMN home text,
  ADD CONSTRAINT chains_holder_has_a_turn CHECK (status NOT IN ('running', 'waiting') OR (turn IS NOT NULL AND run_id IS NOT NULL));
CREATE UNIQUE INDEX chains_line ON session_chain.chains (project_id, turn) WHERE closed_at IS NULL AND turn IS NOT NULL;
COMMENT ON COLUMN session_chain.chains.turn IS 'The number that the chain drew: among the open ones of a project the lowest works, the others wait. Whoever works for the chain presents it';
COMMENT ON COLUMN session_chain.chains.home IS 'Temporal cluster and namespace of the run; who lives elsewhere cannot say that the run is over';
COMMENT ON COLUMN session_chain.chains.run_id IS 'The Temporal run that drew the number, or that closed the chain last; a reset run goes on under its number';

ALTER TABLE session_chain.attempts
  ADD COLUMN turn bigint,
  ALTER COLUMN epoch DROP NOT NULL,
  DROP CONSTRAINT attempts_project_id_version_id_build_id_step_attempt_key,
  ADD CONSTRAINT attempts_number_key UNIQUE NULLS NOT DISTINCT (project_id, build_id, version_id, step, attempt);
COMMENT ON COLUMN session_chain.attempts.turn IS 'The chain''s turn under which it began; null for a move outside a chain';
COMMENT ON COLUMN session_chain.attempts.epoch IS 'Fencing token: the project''s epoch that the commit expects; null where a chain held the turn, so that no commit can move the head';

-- Made anew by the migration of recovery and reset, which decides from what a chain goes on.
DROP FUNCTION session_chain.open_chain;
DROP FUNCTION session_chain.begin_attempt;
DROP FUNCTION session_chain.close_chain;
DROP FUNCTION session_chain.end_open_attempts;
DROP FUNCTION session_chain.stop_alive_attempt;

-- A chain that is registered anew has no number any more: whoever still presents the old one is fenced.
CREATE FUNCTION session_chain.forget_turn() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.turn := NULL;
  NEW.home := NULL;
  RETURN NEW;
END
$$;
CREATE TRIGGER chains_registered_anew BEFORE UPDATE OF status ON session_chain.chains
  FOR EACH ROW WHEN (OLD.closed_at IS NOT NULL AND NEW.status = 'queued') EXECUTE FUNCTION session_chain.forget_turn();

-- The attempts of a chain that nobody has seen end.
CREATE FUNCTION session_chain.open_attempts(p_chain session_chain.chains) RETURNS bigint[]
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(SELECT a.id FROM session_chain.attempts a
    WHERE a.project_id = p_chain.project_id AND a.build_id = p_chain.build_id AND a.version_id = p_chain.version_id
      AND a.state IN ('running', 'waiting'))
$$;

-- Ends attempts that were left running: their sessions take no further entry.
CREATE FUNCTION session_chain.end_attempts(p_attempts bigint[]) RETURNS void
LANGUAGE sql AS $$
  WITH ended AS (
    UPDATE session_chain.attempts a
    SET state = 'failed', ended_at = clock_timestamp(),
      failure = coalesce(a.failure, '{"code": "WORKER_LOST", "message": "Nobody saw this attempt end."}')
    WHERE a.id = ANY (p_attempts) AND a.state IN ('running', 'waiting')
    RETURNING a.project_id, a.session_id
  )
  UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
  FROM ended e WHERE s.project_id = e.project_id AND s.session_id = e.session_id AND s.sealed_at IS NULL;
$$;

-- Whether an agent of these attempts may still be alive: null for no, else how many ms until it is surely dead. An attempt
-- counts as alive until its lease has passed in silence; meanwhile its session is sealed and its worker told to stop.
CREATE FUNCTION session_chain.stop_attempts(p_attempts bigint[]) RETURNS integer
LANGUAGE sql AS $$
  WITH alive AS (
    SELECT a.id, a.project_id, a.session_id, a.seen_at + a.lease_ms * interval '1 ms' - clock_timestamp() AS left
    FROM session_chain.attempts a
    WHERE a.id = ANY (p_attempts) AND a.state = 'running' AND a.seen_at + a.lease_ms * interval '1 ms' > clock_timestamp()
  ), seal AS (
    UPDATE session_chain.sessions s SET sealed_at = clock_timestamp()
    FROM alive WHERE s.project_id = alive.project_id AND s.session_id = alive.session_id AND s.sealed_at IS NULL
  )
  SELECT max(ceil(extract(epoch FROM alive.left) * 1000))::integer
  FROM alive, pg_notify('session_chain_stop', 'attempt:' || alive.id);
$$;

-- Makes the head and the last transition of a locked project agree again, and raises its epoch by p_raise. A head that
-- somebody moved outside is adopted as an `import` transition; one that was cleared is put back, for whoever comes next to
-- start from no session.
CREATE FUNCTION session_chain.adopt_head(p_project text, p_raise integer)
RETURNS TABLE (session_id text, seq bigint, epoch bigint, adopted_session_id text, was_cleared boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_project projects;
  v_last text;
  v_adopted text;
  v_cleared boolean := false;
BEGIN
  SELECT * INTO STRICT v_project FROM projects p WHERE p.project_id = v_id;
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
  IF v_cleared OR v_adopted IS NOT NULL OR p_raise > 0 THEN
    UPDATE projects p SET session_epoch = p.session_epoch + p_raise, session_seq = v_project.session_seq,
        last_ai_session_id = v_project.last_ai_session_id
      WHERE p.project_id = v_id RETURNING p.session_epoch INTO v_project.session_epoch;
  END IF;
  RETURN QUERY SELECT v_project.last_ai_session_id::text, v_project.session_seq, v_project.session_epoch, v_adopted, v_cleared;
END
$$;

-- Closes a chain whose workflow is over though nobody closed the chain, and fences whoever still works for it. The caller
-- saw this very run closed. `former_agent_alive`: its agent is not surely dead; ask again after wait_ms or sooner.
-- `not_open`: the chain was closed, or has another run, by now. next_* is who may work then, as with close_chain.
CREATE FUNCTION session_chain.release_chain(p_project text, p_workflow_id text, p_run_id text)
RETURNS TABLE (outcome text, wait_ms integer, next_workflow_id text, next_run_id text, next_home text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_chain session_chain.chains;
  v_outcome text := 'not_open';
  v_wait_ms integer;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  SELECT * INTO v_chain FROM session_chain.chains c
    WHERE c.project_id = p_project AND c.workflow_id = p_workflow_id AND c.run_id = p_run_id AND c.turn IS NOT NULL
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
      UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = v_id;
    END IF;
    UPDATE session_chain.chains c SET status = 'failed', turn = NULL, waiting_until = NULL, closed_at = clock_timestamp(),
        result = jsonb_build_object('status', 'failed', 'failure', jsonb_build_object('code', 'CHAIN_TERMINATED', 'message',
          'The workflow of this chain ended without closing it: it was terminated, timed out, or its history is gone.'))
      WHERE c.id = v_chain.id;
  END IF;
  RETURN QUERY SELECT v_outcome, NULL::integer, n.workflow_id, n.run_id, n.home
    FROM (SELECT 1) one LEFT JOIN session_chain.next_in_line(p_project) n ON true;
END
$$;

-- The chain that may take the turn of a project; no row while one holds it or nobody waits.
CREATE FUNCTION session_chain.next_in_line(p_project text) RETURNS TABLE (workflow_id text, run_id text, home text)
LANGUAGE sql STABLE AS $$
  SELECT c.workflow_id, c.run_id, c.home FROM session_chain.chains c
  WHERE c.project_id = p_project AND c.closed_at IS NULL AND c.turn IS NOT NULL
    AND NOT EXISTS (SELECT FROM session_chain.chains h WHERE h.project_id = p_project AND h.status IN ('running', 'waiting'))
  ORDER BY c.turn LIMIT 1
$$;

-- Begins an attempt of a step, before any money is spent. `committed` returns the stored result of a step that is done;
-- `fenced` refuses whoever does not present the turn that the chain holds, and a try older than the newest one of the
-- chain under this turn. `former_agent_alive`: an earlier attempt's worker was heard of less than its lease ago. Its session is sealed and
-- its worker told to stop; the caller asks again after wait_ms, or sooner, for the worker may say that it has stopped.
-- With `begun` come the sessions of earlier attempts that were asked the same of the same base, the newest first.
CREATE FUNCTION session_chain.begin_attempt(
  p_project text, p_chain bigint, p_turn bigint, p_step text, p_base text, p_input_digest text, p_scheduled_at timestamptz,
  p_worker text, p_lease_ms integer)
RETURNS TABLE (outcome text, attempt_id bigint, attempt integer, session_id text, epoch bigint, result jsonb,
  wait_ms integer, earlier_session_ids text[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_chain session_chain.chains;
  v_newest session_chain.attempts;
  v_wait_ms integer;
  v_epoch bigint;
  v_attempt session_chain.attempts;
  v_session text := gen_random_uuid();
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
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
  -- Steps follow each other, so an older try than any of the chain's is a late one. Temporal's clock may jump: it is asked
  -- only about tries of one turn.
  IF v_chain.status IS NULL OR v_chain.status NOT IN ('running', 'waiting') OR v_chain.turn IS DISTINCT FROM p_turn
     OR EXISTS (SELECT FROM session_chain.attempts a
       WHERE a.project_id = p_project AND a.version_id = v_chain.version_id AND a.build_id = v_chain.build_id
         AND a.turn = p_turn AND a.scheduled_at > p_scheduled_at) THEN
    RETURN QUERY SELECT 'fenced', NULL::bigint, NULL::integer, NULL, NULL::bigint, NULL::jsonb, NULL::integer, NULL::text[];
    RETURN;
  END IF;

  -- From here on nobody else moves the head of this project, and no earlier session takes an entry.
  UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = v_id
    RETURNING p.session_epoch INTO v_epoch;
  v_wait_ms := session_chain.stop_attempts(session_chain.open_attempts(v_chain));
  IF v_wait_ms IS NOT NULL THEN
    RETURN QUERY SELECT 'former_agent_alive', NULL::bigint, NULL::integer, NULL, NULL::bigint, NULL::jsonb, v_wait_ms,
      NULL::text[];
    RETURN;
  END IF;

  PERFORM session_chain.end_attempts(session_chain.open_attempts(v_chain));
  UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL WHERE c.id = p_chain AND c.status = 'waiting';
  INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id) VALUES (p_project, v_session, p_base);
  INSERT INTO session_chain.attempts (project_id, version_id, build_id, step, attempt, session_id, base_session_id,
    input_digest, turn, epoch, scheduled_at, worker, lease_ms)
  VALUES (p_project, v_chain.version_id, v_chain.build_id, p_step, coalesce(v_newest.attempt, 0) + 1, v_session, p_base,
    p_input_digest, p_turn, v_epoch, p_scheduled_at, p_worker, p_lease_ms)
  RETURNING * INTO v_attempt;
  RETURN QUERY SELECT 'begun', v_attempt.id, v_attempt.attempt, v_session, v_epoch, NULL::jsonb, NULL::integer,
    ARRAY(SELECT a.session_id FROM session_chain.attempts a
      WHERE a.project_id = p_project AND a.version_id = v_chain.version_id AND a.build_id = v_chain.build_id
        AND a.step = p_step AND a.attempt < v_attempt.attempt AND a.input_digest = p_input_digest
        AND a.base_session_id IS NOT DISTINCT FROM p_base AND session_chain.session_is_usable(p_project, a.session_id)
      ORDER BY a.attempt DESC);
END
$$;

-- Closes a chain, hands on the turn or leaves the line, and says who may work next. May be called again; whoever does not
-- present the chain's turn changes nothing. A run that never learnt its number (its open was cancelled on the way) is known
-- by its run id: it drew one, or it drew none and is not the run that closed this chain before.
CREATE FUNCTION session_chain.close_chain(
  p_project text, p_chain bigint, p_turn bigint, p_run_id text, p_status text, p_result jsonb, p_version_status text)
RETURNS TABLE (outcome text, next_workflow_id text, next_run_id text, next_home text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_project projects;
  v_chain session_chain.chains;
  v_outcome text := 'closed';
BEGIN
  SELECT * INTO v_project FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  SELECT * INTO v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
  IF v_chain.id IS NULL OR (CASE WHEN p_turn IS NOT NULL THEN v_chain.turn IS DISTINCT FROM p_turn
           WHEN v_chain.turn IS NOT NULL OR v_chain.closed_at IS NOT NULL THEN v_chain.run_id IS DISTINCT FROM p_run_id
           ELSE v_chain.run_id IS NOT DISTINCT FROM p_run_id END) THEN
    v_outcome := 'fenced';
  ELSIF v_chain.closed_at IS NULL THEN
    IF v_chain.status <> 'queued' THEN
      PERFORM session_chain.end_attempts(session_chain.open_attempts(v_chain));
      UPDATE projects p SET session_epoch = p.session_epoch + 1 WHERE p.project_id = v_id;
      UPDATE project_versions v SET status = coalesce(p_version_status, v.status), ai_session_id = v_project.last_ai_session_id
        WHERE v.version_id = v_chain.version_id AND v.project_id = v_id;
    END IF;
    UPDATE session_chain.chains c SET status = p_status, run_id = p_run_id, waiting_until = NULL, closed_at = clock_timestamp(),
      result = p_result WHERE c.id = p_chain;
  END IF;
  RETURN QUERY SELECT v_outcome, n.workflow_id, n.run_id, n.home
    FROM (SELECT 1) one LEFT JOIN session_chain.next_in_line(p_project) n ON true;
END
$$;

-- Begins a move of the head outside a chain: a chat turn, a recorded operation, an import, a recovery, a rewind. It is
-- journalled as an attempt whose step is its source. While a chain holds the turn it carries no epoch, so that it cannot
-- move the head. p_build names the move: `committed` returns the stored result of one that is done, and a repeated one
-- finds the sessions of its earlier attempts, as with begin_attempt. It forks p_fork as long as the head is p_while_head,
-- else the head. Without p_version the newest version moves along, where there is one.
CREATE FUNCTION session_chain.begin_move(
  p_project text, p_version text, p_build text, p_source text, p_session text, p_fork text, p_while_head text,
  p_input_digest text, p_worker text, p_lease_ms integer)
RETURNS TABLE (outcome text, attempt_id bigint, attempt integer, version_id text, session_id text, base_session_id text,
  head_session_id text, head_seq bigint, head_is_usable boolean, epoch bigint, adopted_session_id text, result jsonb,
  wait_ms integer, earlier_session_ids text[], holder_workflow_id text, holder_run_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_version project_versions.version_id%TYPE := p_version;
  v_owner text;
  v_holder session_chain.chains;
  v_newest session_chain.attempts;
  v_attempt session_chain.attempts;
  v_head record;
  v_base text;
  v_session text := coalesce(p_session, gen_random_uuid()::text);
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    outcome := 'project_not_found';
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT * INTO v_newest FROM session_chain.attempts a WHERE a.project_id = p_project AND a.build_id = p_build
    AND a.step = p_source ORDER BY a.attempt DESC LIMIT 1;
  IF v_newest.state = 'committed' THEN
    outcome := 'committed';
    result := v_newest.result;
    RETURN NEXT;
    RETURN;
  END IF;
  IF p_version IS NULL THEN
    SELECT v.version_id INTO v_version FROM project_versions v WHERE v.project_id = v_id ORDER BY v.created_at DESC LIMIT 1;
  ELSE
    SELECT v.project_id::text INTO v_owner FROM project_versions v WHERE v.version_id = v_version;
    IF v_owner IS DISTINCT FROM p_project THEN
      outcome := CASE WHEN v_owner IS NULL THEN 'version_not_found' ELSE 'version_of_another_project' END;
      RETURN NEXT;
      RETURN;
    END IF;
  END IF;
  wait_ms := session_chain.stop_attempts(ARRAY[v_newest.id]);
  IF wait_ms IS NOT NULL THEN
    outcome := 'former_agent_alive';
    RETURN NEXT;
    RETURN;
  END IF;
  PERFORM session_chain.end_attempts(ARRAY[v_newest.id]);

  SELECT * INTO v_holder FROM session_chain.chains c WHERE c.project_id = p_project AND c.status IN ('running', 'waiting');
  IF FOUND THEN
    SELECT p.last_ai_session_id::text AS session_id, p.session_seq AS seq, NULL::bigint AS epoch, NULL::text AS adopted_session_id,
      false AS was_cleared INTO v_head FROM projects p WHERE p.project_id = v_id;
  ELSE
    SELECT * INTO v_head FROM session_chain.adopt_head(p_project, 0);
  END IF;
  v_base := CASE WHEN v_head.was_cleared THEN NULL
                 WHEN p_fork IS NOT NULL AND p_while_head IS NOT DISTINCT FROM v_head.session_id THEN p_fork
                 ELSE v_head.session_id END;
  INSERT INTO session_chain.sessions (project_id, session_id, parent_session_id) VALUES (p_project, v_session, v_base)
    ON CONFLICT DO NOTHING;
  INSERT INTO session_chain.attempts (project_id, version_id, build_id, step, attempt, session_id, base_session_id,
    input_digest, epoch, scheduled_at, worker, lease_ms)
  VALUES (p_project, v_version, p_build, p_source, coalesce(v_newest.attempt, 0) + 1, v_session, v_base, p_input_digest,
    v_head.epoch, clock_timestamp(), p_worker, p_lease_ms)
  ON CONFLICT (project_id, session_id) DO NOTHING
  RETURNING * INTO v_attempt;
  IF v_attempt.id IS NULL THEN
    outcome := 'session_in_journal';
    RETURN NEXT;
    RETURN;
  END IF;
  RETURN QUERY SELECT 'begun', v_attempt.id, v_attempt.attempt, v_version::text, v_session, v_base, v_head.session_id::text,
    v_head.seq::bigint, session_chain.session_is_usable(p_project, v_head.session_id), v_head.epoch::bigint,
    v_head.adopted_session_id::text, NULL::jsonb, NULL::integer,
    ARRAY(SELECT a.session_id FROM session_chain.attempts a
      WHERE a.project_id = p_project AND a.build_id = p_build AND a.step = p_source AND a.attempt < v_attempt.attempt
        AND a.input_digest = p_input_digest AND a.base_session_id IS NOT DISTINCT FROM v_base
        AND session_chain.session_is_usable(p_project, a.session_id)
      ORDER BY a.attempt DESC),
    v_holder.workflow_id, v_holder.run_id;
END
$$;
