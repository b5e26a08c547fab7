-- Says that the database was restored from a backup: raises the incarnation, and moves every sequence from which rows of ours get
-- their numbers further than anything drew since the backup was taken, so that no number comes back. Ten million events are what
-- a million chains write; a sequence of fewer bits moves by a thousandth of what is left of it. Sequences are not undone with a
-- transaction: said again, they move again, which harms nothing. p_new: the database is a copy that is to live beside its original, and
-- gets an id of its own.
CREATE FUNCTION session_chain.mark_restored(p_new boolean)
RETURNS TABLE (id uuid, former_id uuid, incarnation integer, sequences integer, moved_by integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_former uuid;
  v_host oid[] := ARRAY[to_regclass('project_versions'), to_regclass('session_transitions'),
    to_regclass('project_ai_session_metrics'), to_regclass('project_chat_log_minimal')];
  v_all regclass[];
  v_closed text[];
BEGIN
  SELECT i.id INTO v_former FROM session_chain.installation i FOR UPDATE;
  -- A view of the host stands for the table that it reads.
  v_host := v_host || ARRAY(SELECT d.refobjid FROM pg_rewrite w
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
    WHERE w.ev_class = ANY (v_host));
  -- Of the host's tables those that a column owns or has as its default.
  v_all := ARRAY(SELECT c.oid::regclass FROM pg_class c JOIN pg_sequence q ON q.seqrelid = c.oid AND q.seqincrement > 0
    WHERE c.relnamespace = 'session_chain'::regnamespace OR EXISTS (
      SELECT FROM pg_depend d LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
      WHERE d.refclassid = 'pg_class'::regclass AND (
        (d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjid = ANY (v_host))
        OR (d.refobjid = c.oid AND f.adrelid = ANY (v_host)))));
  v_closed := ARRAY(SELECT s::text FROM unnest(v_all) AS s WHERE NOT has_sequence_privilege(s, 'UPDATE') ORDER BY 1);
  IF v_closed <> '{}' THEN
    RAISE 'the role % may not move sequences of which numbers would come back: GRANT UPDATE ON SEQUENCE % TO %',
      current_user, array_to_string(v_closed, ', '), quote_ident(current_user);
  END IF;
  moved_by := 10000000;
  sequences := cardinality(v_all);
  PERFORM setval(at.sequence, at.last + least(moved_by, (at.max - at.last) / 1000))
    FROM (SELECT q.seqrelid::regclass AS sequence, coalesce(pg_sequence_last_value(q.seqrelid), q.seqstart) AS last, q.seqmax AS max
      FROM pg_sequence q WHERE q.seqrelid = ANY (v_all)) at;
  UPDATE session_chain.installation i
    SET incarnation = i.incarnation + 1, id = CASE WHEN p_new THEN gen_random_uuid() ELSE i.id END
    RETURNING i.id, i.incarnation INTO id, incarnation;
  former_id := v_former;
  RETURN NEXT;
END
$$;
