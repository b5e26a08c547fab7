-- A number that names something outside of the database as well: a chain, an attempt, a question, a ticket. It grows with its
-- sequence, and its last 20 bits are drawn by lot: a database that went back to an earlier state gives none of them out again.
CREATE FUNCTION session_chain.new_id(p_sequence regclass) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
  SELECT nextval(p_sequence) * 1048576 + floor(random() * 1048576)::bigint
$$;
