-- A calibration's parameters hold all that was fitted, acceptance thresholds for known and for unknown
-- keys among them: the single threshold beside them said less and could contradict them.
alter table calibrations drop column accept_at;

comment on column calibrations.parameters is 'what was fitted: a curve, acceptance thresholds';
