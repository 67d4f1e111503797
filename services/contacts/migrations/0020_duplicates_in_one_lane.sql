-- The queue of duplicates holds what somebody changed, in one lane. Apart from that of search: whoever writes a record may hold
-- both, and must not wait for a migration that does.
drop index duplicate_queue_lane;
create index duplicate_queue_place on duplicate_queue (keyed, id);
