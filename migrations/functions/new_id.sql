-- A number that is also used outside the database: for a chain, an attempt, a question, a ticket. It grows with its
-- sequence, and its last 20 bits are random: a database that went back to an earlier state does not give out the same
-- number again.
CREATE FUNCTION session_chain.new_id(p_sequence regclass) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
  SELECT nextval(p_sequence) * 1048576 + floor(random() * 1048576)::bigint
$$;
