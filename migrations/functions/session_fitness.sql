-- Whether an operation may continue from a session, null for no session:
--   whole        its main transcript is here, holds a message, and every entry of it is here
--   quarantined  a step could not load it, or a scan of its entries found a hole
--   hole         entries of it are no longer in the store
--   archived     its transcript is in the archive alone
--   lost         it was here, or its operation ran here, or it was given up, and nothing of it is here
--   unknown      it never was here
CREATE FUNCTION session_chain.session_fitness(p_project text, p_session text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_session session_chain.sessions;
BEGIN
  SELECT * INTO v_session FROM session_chain.sessions s WHERE s.project_id = p_project AND s.session_id = p_session;
  RETURN CASE
    WHEN p_session IS NULL THEN NULL
    WHEN v_session.quarantined_at IS NOT NULL THEN 'quarantined'
    WHEN v_session.dropped_at IS NOT NULL THEN 'archived'
    WHEN v_session.messages > 0 THEN CASE
      WHEN v_session.entries = (
          SELECT sum(cardinality(b.entry_ids)) FROM session_chain.transcript_batches b
          WHERE b.session = v_session.id AND b.subpath = '')
        AND NOT EXISTS (
          SELECT FROM session_chain.transcript_batches b CROSS JOIN unnest(b.entry_ids) AS entry (id)
          WHERE b.session = v_session.id AND b.subpath = ''
            AND NOT EXISTS (SELECT FROM session_chain.transcript_texts t WHERE t.id = entry.id))
      THEN 'whole' ELSE 'hole' END
    WHEN v_session.batches > 0 OR v_session.given_up_at IS NOT NULL
      -- A recorded operation ran elsewhere.
      OR EXISTS (SELECT FROM session_chain.attempts a
        WHERE a.project_id = p_project AND a.session_id = p_session AND a.build_id NOT LIKE 'record:%')
      OR EXISTS (SELECT FROM session_chain.attempts a
        WHERE a.project_id = p_project AND a.adopts = p_session AND a.build_id NOT LIKE 'record:%')
    THEN 'lost'
    ELSE 'unknown'
  END;
END
$$;
