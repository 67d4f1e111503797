-- The end of long work, and who may read what it leaves.

-- Whether the last step is committed, so that only the job's end is left: its files are read through for their checksums
-- first, which is not done within a transaction.
alter table kit.job add column all_done boolean not null default false;

-- What the job that wrote the file asks for; whoever reads the file must be permitted it. None for uploads.
alter table kit.file add column permission text;
