-- The texts of an append that repeats entries of another session (p_base), in order. p_runs is pairs of numbers, a run of
-- entries each: where it begins in the main transcript of the base, counted from 0, and how long it is; below 0 it begins
-- in p_own, counted from -1 downwards. p_proof is the SHA-256 of the digests of all: SC003 says that these are other texts
-- than those that were meant, or that one is not here.
CREATE FUNCTION session_chain.referred_texts(p_project text, p_base text, p_runs integer[], p_own bigint[], p_proof bytea)
RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_base bigint[];
  v_ids bigint[];
  v_proof bytea;
BEGIN
  v_base := ARRAY(
    SELECT u.id FROM session_chain.sessions s
    JOIN session_chain.transcript_batches b ON b.session = s.id AND b.subpath = ''
    CROSS JOIN unnest(b.entry_ids) WITH ORDINALITY AS u (id, n)
    WHERE s.project_id = p_project AND s.session_id = p_base ORDER BY b.ordinal, u.n);
  FOR v_run IN 1 .. cardinality(p_runs) BY 2 LOOP
    v_ids := v_ids || CASE WHEN p_runs[v_run] < 0
      THEN p_own[-p_runs[v_run]:-p_runs[v_run] + p_runs[v_run + 1] - 1]
      ELSE v_base[p_runs[v_run] + 1:p_runs[v_run] + p_runs[v_run + 1]] END;
  END LOOP;
  SELECT sha256(string_agg(t.digest, ''::bytea ORDER BY u.n)) INTO v_proof
    FROM unnest(v_ids) WITH ORDINALITY AS u (id, n) JOIN session_chain.transcript_texts t ON t.id = u.id;
  IF v_proof IS DISTINCT FROM p_proof THEN
    RAISE EXCEPTION 'session % of project % does not hold what is referred to', p_base, p_project USING ERRCODE = 'SC003';
  END IF;
  RETURN v_ids;
END
$$;
