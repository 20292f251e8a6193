-- How many of a call's transactions were answered: what 1,000 transactions cost is told of these. Rows that are asked
-- about twice, or in vain, make an answer dearer. Null while the call is under way, and for fine-tuning.
alter table model_calls
    add column answered_rows integer;
update model_calls
set
    answered_rows = case when outcome = 'answered' then rows else 0 end
where outcome <> 'under_way'
and model not like '%:training';
