-- Marks that a chain waits although no attempt was begun: p_for is a label, p_code says the same as a failure's code. The
-- next operation sets it running again. A chain that does not hold the project under this ticket stays as it is.
CREATE FUNCTION session_chain.note_waiting(
  p_project text, p_chain bigint, p_ticket bigint, p_wait_ms integer, p_code text, p_for text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM session_chain.lock_project(p_project);
  UPDATE session_chain.chains c SET status = 'waiting', waiting_for = p_for, waiting_code = p_code,
      waiting_until = clock_timestamp() + p_wait_ms * interval '1 ms'
    WHERE c.id = p_chain AND c.project_id = p_project AND c.ticket = p_ticket AND c.status IN ('running', 'waiting');
END
$$;
