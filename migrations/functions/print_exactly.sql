-- Lets values of any type be read back from their text whatever the settings of the session that reads, until the end of
-- the transaction.
CREATE FUNCTION session_chain.print_exactly() RETURNS void
LANGUAGE sql AS $$
  SELECT set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'postgres', true),
    set_config('extra_float_digits', '1', true)
$$;
