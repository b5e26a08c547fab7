-- Brings details of a part back: rows of attempts, project_ai_session_metrics and briefs as the part holds them. What is there
-- stays as it is, and what has no chain or session here is left out. What comes back of metrics is taken off spend_days and
-- chains.spent, where it counts there. Returns how many attempts have their metrics back, and briefs.
CREATE FUNCTION session_chain.restore_details(p_part uuid, p_attempts jsonb, p_metrics jsonb, p_briefs jsonb) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_part session_chain.archive_parts;
  v_columns text;
  v_rows jsonb := coalesce(p_metrics, '[]');
  v_back bigint[];
  v_spent jsonb;
  v_briefs integer;
BEGIN
  PERFORM session_chain.lock_project((SELECT p.project_id FROM session_chain.archive_parts p WHERE p.id = p_part));
  SELECT * INTO v_part FROM session_chain.archive_parts p WHERE p.id = p_part FOR UPDATE;
  INSERT INTO session_chain.attempts OVERRIDING SYSTEM VALUE
    SELECT r.* FROM jsonb_array_elements(coalesce(p_attempts, '[]')) AS one
    CROSS JOIN LATERAL jsonb_populate_record(NULL::session_chain.attempts, one - 'archive_part') r
    WHERE (r.chain IS NULL OR EXISTS (SELECT FROM session_chain.chains c WHERE c.id = r.chain AND c.project_id = r.project_id))
      AND EXISTS (SELECT FROM session_chain.sessions s WHERE s.project_id = r.project_id AND s.session_id = r.session_id)
    ON CONFLICT DO NOTHING;

  -- With what the host keeps in columns of its own.
  SELECT string_agg(format('%I', c.attname), ', ') INTO v_columns FROM pg_attribute c
    WHERE c.attrelid = 'project_ai_session_metrics'::regclass AND c.attnum > 0 AND NOT c.attisdropped AND c.attgenerated = ''
      AND EXISTS (SELECT FROM jsonb_array_elements(v_rows) AS one WHERE one ? c.attname);
  IF v_columns IS NOT NULL THEN
    EXECUTE format('WITH back AS (
        INSERT INTO project_ai_session_metrics (%1$s) OVERRIDING SYSTEM VALUE
        SELECT %1$s FROM jsonb_populate_recordset(NULL::project_ai_session_metrics, $1) r
        WHERE EXISTS (SELECT FROM session_chain.attempts a WHERE a.id = r.attempt_id AND a.session_id = r.session_id::text)
        ON CONFLICT (attempt_id) DO NOTHING RETURNING *
      )
      SELECT array_agg(m.attempt_id), jsonb_agg(jsonb_build_object(''project_id'', a.project_id, ''chain'', a.chain, ''step'', a.step,
        ''day'', (m.created_at AT TIME ZONE ''UTC'')::date, ''turns'', m.turns, ''turn_in_flight_unknown'', m.turn_in_flight_unknown,
        ''input_tokens'', m.input_tokens, ''output_tokens'', m.output_tokens, ''cache_read_tokens'', m.cache_read_tokens,
        ''cache_write_tokens'', m.cache_write_tokens, ''cost_usd'', m.cost_usd, ''duration_ms'', m.duration_ms,
        ''usage_by_model'', m.usage_by_model))
      FROM back m JOIN session_chain.attempts a ON a.id = m.attempt_id', v_columns)
      INTO v_back, v_spent USING v_rows;
    IF v_part.rolled_up_at IS NOT NULL THEN
      PERFORM session_chain.count_spent(v_spent, -1);
    END IF;
    UPDATE session_chain.attempts a SET archive_part = NULL WHERE a.id = ANY (v_back) AND a.archive_part IS NOT NULL;
  END IF;
  WITH back AS (
    INSERT INTO session_chain.briefs
    SELECT r.* FROM jsonb_array_elements(coalesce(p_briefs, '[]')) AS one
    CROSS JOIN LATERAL jsonb_populate_record(NULL::session_chain.briefs, one - 'archive_part') r
    WHERE EXISTS (SELECT FROM session_chain.chains c WHERE c.id = r.chain) ON CONFLICT DO NOTHING RETURNING 1
  )
  SELECT count(*) INTO v_briefs FROM back;
  RETURN coalesce(cardinality(v_back), 0) + v_briefs;
END
$$;
