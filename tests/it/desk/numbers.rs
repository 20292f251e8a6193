//! What the accuracy page draws, as numbers that other programs can read; and two runs row by row.

use crate::{
    harness::App,
    tracker::{answered, stored},
};

/// A file's header and rows.
async fn table(app: &App, query: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let answer = app.get(&format!("/accuracy/numbers.csv?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.body);
    assert!(answer.headers["content-disposition"].to_str().unwrap().starts_with("attachment; filename=\"run-"));
    let mut rows = csv::Reader::from_reader(answer.body.as_str().unwrap().as_bytes());
    let cells = |row: &csv::StringRecord| row.iter().map(str::to_owned).collect::<Vec<String>>();
    let header = cells(rows.headers().unwrap());
    (header, rows.records().map(|row| cells(&row.unwrap())).collect())
}

#[tokio::test]
async fn every_chart_s_numbers_can_be_had_and_agree_with_the_rows() {
    let app = App::start().await;
    let (ours, theirs) = (answered(1, 240, 0.9), answered(2, 240, 0.7));
    let run = stored(&app.store, "adapter", &ours).await;
    let first = stored(&app.store, "few_shot", &theirs).await;
    let again = stored(&app.store, "few_shot", &answered(3, 240, 0.8)).await;

    let (header, cells) = table(&app, &format!("what=confusion&run={run}")).await;
    assert_eq!(header, ["expected", "predicted", "rows"]);
    let number = |text: &String| text.parse::<usize>().unwrap();
    for row in &cells {
        let alike = ours.iter().filter(|item| item.expected == row[0] && item.predicted == row[1]).count();
        assert_eq!(number(&row[2]), alike, "{row:?}");
    }
    assert_eq!(cells.iter().map(|row| number(&row[2])).sum::<usize>(), 240);
    let right: usize = cells.iter().filter(|row| row[0] == row[1]).map(|row| number(&row[2])).sum();
    assert_eq!(right, ours.iter().filter(|item| item.gold_rank == Some(1)).count());

    let (_, course) = table(&app, &format!("what=over_time&run={run}")).await;
    let ids: Vec<&str> = course.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(ids, [again.to_string(), first.to_string(), run.to_string()]);
    let (_, stages) = table(&app, &format!("what=stages&run={run}")).await;
    let ids: Vec<&str> = stages.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(ids, [again.to_string(), run.to_string()], "each stage's latest run");
    let (_, bins) = table(&app, &format!("what=bins&run={run}")).await;
    assert_eq!(bins.iter().map(|row| number(&row[0])).sum::<usize>(), 240);
    let (header, classes) = table(&app, &format!("what=classes&run={run}")).await;
    assert_eq!(header[..2], ["category", "support"]);
    assert_eq!(classes.iter().map(|row| number(&row[1])).sum::<usize>(), 240);

    let pairs = || ours.iter().zip(&theirs);
    for (which, expected) in [
        ("all", 240),
        ("different", pairs().filter(|(a, b)| a.predicted != b.predicted).count()),
        ("only_ours", pairs().filter(|(a, b)| a.predicted == a.expected && b.predicted != b.expected).count()),
        ("only_theirs", pairs().filter(|(a, b)| a.predicted != a.expected && b.predicted == b.expected).count()),
        ("both_wrong", pairs().filter(|(a, b)| a.predicted != a.expected && b.predicted != b.expected).count()),
    ] {
        let (_, rows) = table(&app, &format!("what=rows&run={run}&with={first}&which={which}")).await;
        assert_eq!(rows.len(), expected, "{which}");
        let page = app.get(&format!("/accuracy/rows?run={run}&with={first}&which={which}")).await.with(200);
        let shown = page.as_str().unwrap().matches("<tr><td>row-").count();
        assert_eq!(shown, expected.min(200), "{which}");
        assert_eq!(page.as_str().unwrap().contains("rel=\"next\""), expected > 200, "{which}");
    }
    let (_, next) = table(&app, &format!("what=rows&run={run}&with={first}&which=all")).await;
    let after = format!("/accuracy/rows?run={run}&with={first}&which=all&after={}", next[199][0]);
    assert_eq!(app.get(&after).await.with(200).as_str().unwrap().matches("<tr><td>row-").count(), 40);
    app.get("/accuracy/numbers.csv?what=confusion&run=77").await.with(404);
    app.get("/accuracy/numbers.csv?what=bins&run=77").await.with(404);
    app.get("/accuracy/numbers.csv?what=moon&run=1").await.with(400);
}
