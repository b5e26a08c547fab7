-- Records with the event of a chain's end that the host is to be told of it. Only while workers want that: none has looked
-- for ends for 30 days where this adds nothing.
CREATE FUNCTION session_chain.record_end() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO session_chain.chain_ends (event, chain, project_id, version_id, build_id, status, failure_code, session_id, seq,
    steps, ended_at)
  SELECT NEW.id, NEW.chain, NEW.project_id, NEW.version_id, NEW.build_id, NEW.data ->> 'status', NEW.data ->> 'failureCode',
    NEW.data ->> 'headSessionId', (NEW.data ->> 'headSeq')::bigint,
    ARRAY(SELECT s.step ->> 'name' FROM session_chain.chains c, jsonb_array_elements(c.plan) WITH ORDINALITY s (step, ordinal)
      WHERE c.id = NEW.chain ORDER BY s.ordinal),
    NEW.at
  FROM session_chain.installation i WHERE i.ends_wanted_at > clock_timestamp() - interval '30 days';
  RETURN NULL;
END
$$;
CREATE TRIGGER record_end AFTER INSERT ON session_chain.events
  FOR EACH ROW WHEN (NEW.type = 'chain.closed') EXECUTE FUNCTION session_chain.record_end();
