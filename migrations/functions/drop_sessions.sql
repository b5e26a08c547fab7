-- Drops the transcripts of at most p_limit sessions of a file of the archive that are to be dropped, see droppable_sessions: their appends, and the
-- texts to which no other session of the project refers. Their rows stay and say that they are in the archive. Appends wait
-- meanwhile, because one may be about to refer to a text that it found. `bytes` is what the texts took.
CREATE FUNCTION session_chain.drop_sessions(p_project text, p_days integer, p_drop_days integer, p_part uuid, p_limit integer)
RETURNS TABLE (sessions integer, bytes bigint)
LANGUAGE plpgsql AS $$
DECLARE
  v_sessions bigint[];
  v_texts bigint[];
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('session_chain retention ' || p_project, 0));
  PERFORM session_chain.lock_project(p_project);
  PERFORM pg_advisory_xact_lock(hashtextextended('session_chain texts ' || p_project, 0));
  v_sessions := ARRAY(SELECT d.id FROM session_chain.droppable_sessions(p_project, p_days, p_drop_days) d
    WHERE d.part = p_part ORDER BY d.id LIMIT p_limit);
  v_texts := ARRAY(SELECT session_chain.texts_of_none_but(p_project, v_sessions));
  -- What its forks inherited are the texts that stay; where none does, what was said before, else all that it has.
  WITH last AS (
    SELECT b.session, max(u.id) FILTER (WHERE f.id IS NULL) AS shared, max(u.id) AS own
    FROM session_chain.transcript_batches b CROSS JOIN unnest(b.entry_ids) AS u (id) LEFT JOIN unnest(v_texts) AS f (id) ON f.id = u.id
    WHERE b.session = ANY (v_sessions) AND b.subpath = '' GROUP BY b.session
  )
  UPDATE session_chain.sessions s SET dropped_at = clock_timestamp(), last_text = coalesce(l.shared, s.last_text, l.own, 0)
    FROM unnest(v_sessions) AS chosen (id) LEFT JOIN last l ON l.session = chosen.id WHERE s.id = chosen.id;
  DELETE FROM session_chain.transcript_batches b WHERE b.session = ANY (v_sessions);
  WITH gone AS (
    DELETE FROM session_chain.transcript_texts t WHERE t.id = ANY (v_texts) RETURNING pg_column_size(t.content) AS size
  )
  SELECT coalesce(sum(g.size), 0) INTO bytes FROM gone g;
  sessions := cardinality(v_sessions);
  RETURN NEXT;
END
$$;
