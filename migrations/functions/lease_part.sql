-- Takes the lease of a planned part for so long, or renews it, and returns until when: to be shown at the next renewal.
-- Null while another worker has it, and once the part is verified or gone.
CREATE FUNCTION session_chain.lease_part(p_part uuid, p_mine timestamptz, p_lease interval) RETURNS timestamptz
LANGUAGE sql AS $$
  UPDATE session_chain.archive_parts SET written_until = clock_timestamp() + p_lease
  WHERE id = p_part AND state = 'planned'
    AND (written_until IS NULL OR written_until <= clock_timestamp() OR written_until = p_mine)
  RETURNING written_until
$$;
