-- Up Migration
-- From what a chain works: the head, an ancestor of a head whose transcript is lost, or a fresh session that is given a
-- brief of the project's state.

ALTER TABLE session_chain.chains ADD COLUMN origin jsonb;
COMMENT ON COLUMN session_chain.chains.origin IS 'From what the chain worked when it opened last, and why: {kind, headSessionId, headSeq, operations, contextTokens}';

ALTER TABLE session_chain.sessions ADD COLUMN given_up_at timestamptz;
COMMENT ON COLUMN session_chain.sessions.given_up_at IS 'Since when chains go on from an ancestor of this session as long as its transcript is not here: a person said so';

CREATE TABLE session_chain.briefs (
  chain bigint NOT NULL REFERENCES session_chain.chains (id) ON DELETE CASCADE,
  head_session_id text NOT NULL,
  content text NOT NULL,
  parts jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (chain, head_session_id)
);
COMMENT ON TABLE session_chain.briefs IS 'What a chain that started a fresh session told it of the project''s state, once per head: every attempt and every run is told the same';
COMMENT ON COLUMN session_chain.briefs.head_session_id IS 'The head whose memory the brief stands for';
COMMENT ON COLUMN session_chain.briefs.parts IS 'What went into it: [{part, from, characters}]';

-- Whether the whole main transcript of a session is here, and a step may go on from it.
CREATE FUNCTION session_chain.session_is_whole(p_project text, p_session text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM session_chain.sessions s
    WHERE s.project_id = p_project AND s.session_id = p_session AND s.messages > 0 AND s.quarantined_at IS NULL
      AND s.entries = (SELECT sum(cardinality(b.entry_ids)) FROM session_chain.transcript_batches b
        WHERE b.session = s.id AND b.subpath = '')
      AND NOT EXISTS (
        SELECT FROM session_chain.transcript_batches b CROSS JOIN unnest(b.entry_ids) AS entry (id)
        WHERE b.session = s.id AND b.subpath = ''
          AND NOT EXISTS (SELECT FROM session_chain.transcript_texts t WHERE t.id = entry.id)))
$$;

-- Whether a transcript of this session was ever stored here, or its operation ran here: what is not here now was lost.
CREATE FUNCTION session_chain.session_was_here(p_project text, p_session text) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM session_chain.sessions s
      WHERE s.project_id = p_project AND s.session_id = p_session AND (s.batches > 0 OR s.given_up_at IS NOT NULL))
    OR EXISTS (SELECT FROM session_chain.attempts a
      WHERE a.project_id = p_project AND p_session IN (a.session_id, a.adopts) AND a.build_id NOT LIKE 'record:%')
$$;

-- The sessions that a session comes from, the nearest first: what it forked before what it replaced as head.
CREATE FUNCTION session_chain.session_ancestors(p_project text, p_session text)
RETURNS TABLE (session_id text, distance integer)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
  v_front text[] := ARRAY[p_session];
  v_seen text[] := ARRAY[p_session];
  v_distance integer := 0;
BEGIN
  LOOP
    SELECT array_agg(p.id ORDER BY p.rank, p.id) INTO v_front FROM (
      SELECT parent.id, min(parent.rank) AS rank FROM (
        SELECT s.parent_session_id AS id, 1 AS rank FROM session_chain.sessions s
          WHERE s.project_id = p_project AND s.session_id = ANY (v_front)
        UNION ALL
        SELECT forked.id, forked.rank FROM session_transitions t
          CROSS JOIN LATERAL (VALUES (t.parent_session_id::text, 1), (t.old_session_id::text, 2)) AS forked (id, rank)
          WHERE t.project_id = p_project AND t.seq IS NOT NULL AND t.new_session_id = ANY (v_front)
      ) parent WHERE parent.id IS NOT NULL AND parent.id <> ALL (v_seen)
      GROUP BY parent.id
    ) p;
    EXIT WHEN v_front IS NULL;
    v_seen := v_seen || v_front;
    v_distance := v_distance + 1;
    RETURN QUERY SELECT f.id, v_distance FROM unnest(v_front) WITH ORDINALITY AS f (id, n) ORDER BY f.n;
  END LOOP;
END
$$;

-- The size of a session's context in tokens: what the last request of its transcript read, wrote and answered, or what a
-- compaction after it left. 0 when the transcript says nothing.
CREATE FUNCTION session_chain.session_context_tokens(p_project text, p_session text) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_text text;
  v_entry json;
  v_usage json;
  v_tokens bigint;
BEGIN
  FOR v_text IN
    SELECT t.content FROM session_chain.sessions s
    JOIN session_chain.transcript_batches b ON b.session = s.id AND b.subpath = ''
    CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS entry (id, n)
    JOIN session_chain.transcript_texts t ON t.id = entry.id
    WHERE s.project_id = p_project AND s.session_id = p_session
    ORDER BY b.ordinal DESC, entry.n DESC
  LOOP
    CONTINUE WHEN v_text NOT LIKE '%"usage":%' AND v_text NOT LIKE '%"compact_boundary"%';
    -- An entry may hold what Postgres does not take for a text (\u0000, half an emoji): it is passed over.
    BEGIN
      -- The marks of the codec stand in the place of values.
      v_entry := replace(replace(v_text, E'\x01', 'null'), E'\x02', 'null')::json;
      IF v_entry ->> 'type' = 'system' AND v_entry ->> 'subtype' = 'compact_boundary' THEN
        v_tokens := (v_entry -> 'compactMetadata' ->> 'postTokens')::bigint;
      ELSIF v_entry ->> 'type' = 'assistant' AND v_entry ->> 'isApiErrorMessage' IS DISTINCT FROM 'true'
        AND v_entry -> 'message' ->> 'model' IS DISTINCT FROM '<synthetic>' THEN
        v_usage := v_entry -> 'message' -> 'usage';
        v_tokens := nullif(coalesce((v_usage ->> 'input_tokens')::bigint, 0)
          + coalesce((v_usage ->> 'cache_read_input_tokens')::bigint, 0)
          + coalesce((v_usage ->> 'cache_creation_input_tokens')::bigint, 0)
          + coalesce((v_usage ->> 'output_tokens')::bigint, 0), 0);
      END IF;
    EXCEPTION WHEN data_exception THEN
      CONTINUE;
    END;
    EXIT WHEN v_tokens IS NOT NULL;
  END LOOP;
  RETURN coalesce(v_tokens, 0);
END
$$;

-- Takes the project's turn for a chain, or a place in the line. p_turn is the number that the caller knows it has; a run
-- that knows none draws one, and keeps it when its question is repeated. `queued` names who is in the way: an earlier run
-- of this very chain, the holder, or the first in line. The caller that saw the run in the way closed passes it as
-- p_gone_run: it is taken out, once its agent is surely dead too (`former_agent_alive`: ask again after wait_ms).
-- p_options, all optional: resetOperations and resetTokens, past which a build starts a fresh session (0: never); recover,
-- to go on from an ancestor of a head whose transcript never was here; recovery {head, base}, from what to go on in place
-- of a head that is lost (base null: from nothing). `head_lost` asks for the latter.
CREATE FUNCTION session_chain.open_chain(
  p_project text, p_chain bigint, p_run_id text, p_turn bigint, p_home text, p_gone_run text, p_options jsonb DEFAULT '{}')
RETURNS TABLE (outcome text, head_session_id text, base_session_id text, seq bigint, adopted_session_id text,
  head_was_cleared boolean, turn bigint, place integer, blocker_workflow_id text, blocker_run_id text, blocker_home text,
  blocker_holds boolean, wait_ms integer, origin jsonb)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_id projects.project_id%TYPE := p_project;
  v_chain session_chain.chains;
  v_blocker session_chain.chains;
  v_head record;
  v_wait_ms integer;
  v_origin jsonb;
  v_outcome text := 'opened';
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = v_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    outcome := 'project_not_found';
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT * INTO v_chain FROM session_chain.chains c WHERE c.id = p_chain AND c.project_id = p_project;
  -- A new run was started while somebody closed the chain for its former one: it is queued anew.
  IF v_chain.result -> 'failure' ->> 'code' = 'CHAIN_TERMINATED' AND p_turn IS NULL AND v_chain.run_id <> p_run_id THEN
    UPDATE session_chain.chains c SET status = 'queued', closed_at = NULL, result = NULL WHERE c.id = p_chain
      RETURNING * INTO v_chain;
  END IF;
  -- A question that was delayed until the chain works would fence the work that is under way.
  IF v_chain.id IS NULL OR v_chain.closed_at IS NOT NULL OR (p_turn IS NOT NULL AND p_turn IS DISTINCT FROM v_chain.turn)
     OR (v_chain.status <> 'queued' AND v_chain.run_id = p_run_id AND EXISTS (
       SELECT FROM session_chain.attempts a WHERE a.project_id = p_project AND a.build_id = v_chain.build_id
         AND a.version_id = v_chain.version_id AND a.turn = v_chain.turn)) THEN
    outcome := 'fenced';
    RETURN NEXT;
    RETURN;
  END IF;

  LOOP
    -- Until this run has a number, only an earlier run of the chain can be in its way.
    IF v_chain.turn IS NOT NULL AND p_turn IS NULL AND v_chain.run_id <> p_run_id THEN
      v_blocker := v_chain;
    ELSE
      IF v_chain.turn IS NULL THEN
        UPDATE session_chain.chains c SET turn = nextval('session_chain.turns'), run_id = p_run_id, home = p_home
          WHERE c.id = p_chain RETURNING * INTO v_chain;
      END IF;
      SELECT * INTO v_blocker FROM session_chain.chains c
        WHERE v_chain.status = 'queued' AND c.project_id = p_project AND c.closed_at IS NULL AND c.id <> p_chain
          AND (c.status <> 'queued' OR c.turn < v_chain.turn)
        ORDER BY c.status <> 'queued' DESC, c.turn LIMIT 1;
      EXIT WHEN NOT FOUND;
    END IF;
    IF v_blocker.run_id IS DISTINCT FROM p_gone_run THEN
      RETURN QUERY SELECT 'queued', NULL, NULL, NULL::bigint, NULL, false, CASE WHEN v_blocker.id <> p_chain THEN v_chain.turn END,
        (SELECT count(*)::integer FROM session_chain.chains c WHERE c.project_id = p_project AND c.closed_at IS NULL
          AND c.status = 'queued' AND c.turn <= v_chain.turn),
        v_blocker.workflow_id, v_blocker.run_id, v_blocker.home, v_blocker.status <> 'queued', NULL::integer, NULL::jsonb;
      RETURN;
    END IF;
    IF v_blocker.id = p_chain THEN
      v_wait_ms := session_chain.stop_attempts(session_chain.open_attempts(v_blocker));
      IF v_wait_ms IS NULL THEN
        PERFORM session_chain.end_attempts(session_chain.open_attempts(v_blocker));
        UPDATE session_chain.chains c SET status = 'queued', waiting_until = NULL, turn = NULL WHERE c.id = p_chain
          RETURNING * INTO v_chain;
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
  IF v_head.was_cleared OR v_head.session_id IS NULL THEN
    v_origin := '{"kind": "fresh"}';
  ELSIF session_chain.session_is_whole(p_project, v_head.session_id) THEN
    v_origin := session_chain.origin_at_head(v_chain, v_head.session_id, v_head.seq, p_options);
  ELSIF p_options #>> '{recovery,head}' = v_head.session_id THEN
    v_origin := '{"kind": "recovery"}';
  ELSIF (p_options ->> 'recover')::boolean OR session_chain.session_was_here(p_project, v_head.session_id) THEN
    v_outcome := 'head_lost';
  ELSE
    v_outcome := 'session_not_in_store';
  END IF;
  IF v_outcome = 'opened' THEN
    v_origin := v_origin || jsonb_build_object('headSessionId', v_head.session_id, 'headSeq', v_head.seq);
    UPDATE session_chain.chains c SET status = 'running', waiting_until = NULL, run_id = p_run_id, home = p_home,
        opened_at = clock_timestamp(), origin = v_origin,
        base_session_id = CASE v_origin ->> 'kind' WHEN 'head' THEN v_head.session_id
          WHEN 'recovery' THEN p_options #>> '{recovery,base}' END
      WHERE c.id = p_chain RETURNING * INTO v_chain;
    UPDATE project_versions v SET ai_session_id = v_head.session_id
      WHERE v.version_id = v_chain.version_id AND v.project_id = v_id AND v_origin ->> 'kind' <> 'fresh';
  END IF;
  RETURN QUERY SELECT v_outcome, v_head.session_id::text, v_chain.base_session_id, v_head.seq::bigint,
    v_head.adopted_session_id::text, v_head.was_cleared::boolean, v_chain.turn, NULL::integer, NULL, NULL, NULL, NULL::boolean,
    NULL::integer, v_origin;
END
$$;

-- Whether a chain goes on from the head or starts a fresh session: its build does, once so many operations went on from
-- one another, or once the context is so large. A chain run again on the same head goes on as it did.
CREATE FUNCTION session_chain.origin_at_head(p_chain session_chain.chains, p_head text, p_seq bigint, p_options jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_max_operations bigint := nullif((p_options ->> 'resetOperations')::bigint, 0);
  v_max_tokens bigint := nullif((p_options ->> 'resetTokens')::bigint, 0);
  v_operations bigint;
  v_tokens bigint;
BEGIN
  IF NOT 'build' = ANY (p_chain.steps) OR EXISTS (
    SELECT FROM session_chain.attempts a WHERE a.project_id = p_chain.project_id
      AND a.version_id = p_chain.version_id AND a.build_id = p_chain.build_id AND a.step = 'build' AND a.state = 'committed') THEN
    RETURN '{"kind": "head"}';
  END IF;
  IF p_chain.origin ->> 'kind' = 'context_reset' AND p_chain.origin ->> 'headSessionId' = p_head THEN
    RETURN p_chain.origin;
  END IF;
  IF v_max_operations IS NULL AND v_max_tokens IS NULL THEN
    RETURN '{"kind": "head"}';
  END IF;
  -- The one that started the line of sessions is one of its operations.
  v_operations := p_seq - coalesce((
    SELECT t.seq - 1 FROM session_transitions t JOIN session_chain.attempts a ON a.id = t.attempt_id
    WHERE t.project_id = p_chain.project_id AND t.seq IS NOT NULL AND a.base_session_id IS NULL AND a.turn IS NOT NULL
    ORDER BY t.seq DESC LIMIT 1), 0);
  v_tokens := session_chain.session_context_tokens(p_chain.project_id, p_head);
  RETURN jsonb_build_object('operations', v_operations, 'contextTokens', v_tokens,
    'kind', CASE WHEN v_operations >= v_max_operations OR v_tokens > v_max_tokens THEN 'context_reset' ELSE 'head' END);
END
$$;
