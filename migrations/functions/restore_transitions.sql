-- Brings the transitions of a project from p_from on (null: all) back from the archive into session_transitions, and
-- returns how many: from the first one of that time on, so that what is there has no gap. One statement makes the rows and
-- the link to them that was cut. No event is written of them, see event_of_transition.
CREATE FUNCTION session_chain.restore_transitions(p_project text, p_from timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_first bigint;
  v_restored integer;
BEGIN
  PERFORM session_chain.lock_project(p_project);
  SELECT min(a.seq) INTO v_first FROM session_chain.session_transitions_archive a
    WHERE a.project_id = p_project AND (p_from IS NULL OR a.created_at >= p_from);
  IF v_first IS NULL THEN
    RETURN 0;
  END IF;
  PERFORM session_chain.print_exactly();
  -- The cut link first: only one row of a project may have none.
  EXECUTE (SELECT format('WITH linked AS (
      UPDATE session_transitions t SET prev_seq = t.seq - 1
      WHERE t.project_id = session_chain.transition_project_key($1) AND t.prev_seq IS NULL AND EXISTS (
        SELECT FROM session_chain.session_transitions_archive b WHERE b.project_id = $1 AND b.seq = t.seq - 1)
      RETURNING t.seq
    ), archived AS MATERIALIZED (
      SELECT a.*, CASE WHEN a.seq > $2 THEN a.seq - 1 END AS prev_seq, (SELECT count(*) FROM linked) AS links
      FROM session_chain.session_transitions_archive a WHERE a.project_id = $1 AND a.seq >= $2
    )
    INSERT INTO session_transitions (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM archived a',
      string_agg(quote_ident(c.name), ', '),
      string_agg(format(CASE WHEN c.is_ours THEN 'a.%1$I::%2$s'
        ELSE 'CASE WHEN a.host ? %1$L THEN (a.host ->> %1$L)::%2$s ELSE %3$s END' END, c.name, c.type, c.by_default), ', '))
    FROM session_chain.transition_columns() c)
    USING p_project, v_first;
  GET DIAGNOSTICS v_restored = ROW_COUNT;
  DELETE FROM session_chain.session_transitions_archive a WHERE a.project_id = p_project AND a.seq >= v_first;
  RETURN v_restored;
END
$$;
