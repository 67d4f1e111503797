-- Rows of an import are told from earlier ones by the index, also where the plan was made while the table was empty, as it is
-- between imports: read as a whole each time, a table of 30,000 keys made every step take half a second.
create function import_lines(of_tenant uuid, of_job uuid, keys text[]) returns table (key text, line bigint) language sql stable
  set enable_seqscan = off as $$
  select sought.key, known.line from unnest(keys) sought(key) cross join lateral (
    select k.line from import_keys k where k.tenant_id = of_tenant and k.job_id = of_job and k.key = sought.key limit 1) known
$$;
