-- Says that the database was restored from a backup: raises the incarnation, and moves every sequence of ours further than
-- anything drew since the backup was taken, so that no number comes back. Ten million events are what a million chains write;
-- a column of 32 bits gets a tenth of that. Sequences are not undone with a transaction: said again, they move again, which
-- harms nothing. p_new: the database is a copy that is to live beside its original, and gets an id of its own.
CREATE FUNCTION session_chain.mark_restored(p_new boolean)
RETURNS TABLE (id uuid, former_id uuid, incarnation integer, sequences integer, moved_by integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_former uuid;
  v_sequence record;
BEGIN
  SELECT i.id INTO v_former FROM session_chain.installation i FOR UPDATE;
  sequences := 0;
  moved_by := 10000000;
  FOR v_sequence IN
    SELECT q.seqrelid::regclass AS name, coalesce(pg_sequence_last_value(q.seqrelid), q.seqstart)
        + CASE WHEN q.seqmax > 2147483647 THEN moved_by ELSE moved_by / 10 END AS wanted, q.seqmax
      FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid
      -- Of the host's tables those in which rows of ours get their numbers.
      WHERE (c.relnamespace = 'session_chain'::regnamespace OR EXISTS (SELECT FROM pg_depend d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = q.seqrelid AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid IN (to_regclass('project_versions'), to_regclass('session_transitions'),
              to_regclass('project_ai_session_metrics'), to_regclass('project_chat_log_minimal'))))
        AND q.seqincrement > 0 AND has_sequence_privilege(q.seqrelid, 'UPDATE')
  LOOP
    CONTINUE WHEN v_sequence.wanted >= v_sequence.seqmax;
    PERFORM setval(v_sequence.name, v_sequence.wanted);
    sequences := sequences + 1;
  END LOOP;
  UPDATE session_chain.installation i
    SET incarnation = i.incarnation + 1, id = CASE WHEN p_new THEN gen_random_uuid() ELSE i.id END
    RETURNING i.id, i.incarnation INTO id, incarnation;
  former_id := v_former;
  RETURN NEXT;
END
$$;
