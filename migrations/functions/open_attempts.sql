-- The attempts of a chain that were not seen to end.
CREATE FUNCTION session_chain.open_attempts(p_chain session_chain.chains) RETURNS bigint[]
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(SELECT a.id FROM session_chain.attempts a
    WHERE a.chain = p_chain.id AND a.state IN ('running', 'waiting'))
$$;
