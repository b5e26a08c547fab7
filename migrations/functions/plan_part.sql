-- The next file of the archive to be written of a project, null where nothing is due. One that is planned comes first: its
-- content is chosen, and it is written anew until it is verified. Else the oldest month of which something is due, with what
-- is due of it: sessions, oldest first, up to a number and a size, which take no entries from then on; transitions of a month
-- that has left session_transitions as a whole; details, see due_details. p_policy as in contracts/retention.ts; p_folder is
-- the project's in the archive.
CREATE FUNCTION session_chain.plan_part(p_project text, p_policy jsonb, p_location text, p_folder text)
RETURNS SETOF session_chain.archive_parts
LANGUAGE plpgsql AS $$
DECLARE
  v_days constant integer := (p_policy ->> 'transcriptsDays')::integer;
  v_details_days constant integer := (p_policy ->> 'detailsDays')::integer;
  v_host_tables constant boolean := coalesce((p_policy ->> 'hostTables')::boolean, false);
  v_whole_months constant timestamptz := date_trunc('month',
    clock_timestamp() - make_interval(days => (p_policy ->> 'transitionsDays')::integer), 'UTC');
  v_max_sessions constant integer := 1000;
  v_max_bytes constant bigint := 200000000;
  v_part session_chain.archive_parts;
  v_month timestamptz;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('session_chain retention ' || p_project, 0));
  PERFORM session_chain.lock_project(p_project);
  IF session_chain.why_left_alone(p_project) IS NOT NULL THEN
    RETURN;
  END IF;
  SELECT * INTO v_part FROM session_chain.archive_parts p
    WHERE p.project_id = p_project AND p.state = 'planned' ORDER BY p.planned_at LIMIT 1;
  IF FOUND THEN
    -- The archive may have been given another place meanwhile.
    RETURN QUERY UPDATE session_chain.archive_parts p SET location = p_location WHERE p.id = v_part.id RETURNING p.*;
    RETURN;
  END IF;

  SELECT date_trunc('month', min(due.at), 'UTC') INTO v_month FROM (
    SELECT min(s.at) AS at FROM session_chain.due_sessions(p_project, v_days) s
    UNION ALL
    SELECT min(a.created_at) FROM session_chain.session_transitions_archive a
      WHERE a.project_id = p_project AND a.part IS NULL AND a.created_at < v_whole_months
    UNION ALL
    SELECT min(d.at) FROM session_chain.due_details(p_project, v_details_days, v_host_tables) d) due;
  IF v_month IS NULL THEN
    RETURN;
  END IF;
  v_part.id := gen_random_uuid();
  INSERT INTO session_chain.archive_parts (id, project_id, month, location, object)
    VALUES (v_part.id, p_project, (v_month AT TIME ZONE 'UTC')::date, p_location,
      p_folder || '/' || to_char(v_month AT TIME ZONE 'UTC', 'YYYY-MM') || '/' || v_part.id)
    RETURNING * INTO v_part;
  WITH due AS (
    SELECT d.id, row_number() OVER place AS n, sum(d.bytes) OVER place - d.bytes AS before
    FROM session_chain.due_sessions(p_project, v_days) d
    WHERE date_trunc('month', d.at, 'UTC') = v_month WINDOW place AS (ORDER BY d.at, d.id)
  )
  UPDATE session_chain.sessions s SET archive_part = v_part.id, sealed_at = coalesce(s.sealed_at, clock_timestamp())
    FROM due WHERE s.id = due.id AND due.n <= v_max_sessions AND due.before < v_max_bytes;
  UPDATE session_chain.session_transitions_archive a SET part = v_part.id
    WHERE a.project_id = p_project AND a.part IS NULL AND a.created_at < v_whole_months
      AND date_trunc('month', a.created_at, 'UTC') = v_month;
  PERFORM session_chain.plan_details(v_part.id, v_details_days, v_host_tables, v_max_sessions);
  RETURN NEXT v_part;
END
$$;
