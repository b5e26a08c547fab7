-- The code of a failure, null where there is none. What is said of a chain comes by Temporal, from any writer: what is no
-- code is not passed on.
CREATE FUNCTION session_chain.failure_code(p_failure jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_failure ->> 'code' ~ '^[A-Z][A-Z_]{0,49}$' THEN p_failure ->> 'code'
    WHEN p_failure IS NOT NULL THEN 'INTERNAL' END
$$;
